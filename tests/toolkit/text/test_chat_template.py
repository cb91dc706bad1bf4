"""Rendering against transformers' own, and what a template may not do."""

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from toolkit.errors import BundleError
from toolkit.text.chat_template import ChatTemplate

SPECIALS = {"bos_token": "<s>", "audio_bos_token": "<audio>"}
MESSAGES = [
    {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": ' <b>é & "a"\n'}]},
    {"role": "assistant", "content": "fine"},
]
TEMPLATES = {
    "special_tokens": "{{ bos_token }}{{ audio_bos_token }}{{ eos_token }}",
    "nothing_given": "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ missing }}",
    "blocks_are_trimmed": "a\n  {% if true %}\n  b\n  {% endif %}\n c\n",
    "no_escaping": "{{ messages[0].content[1].text }}",
    "tojson": "{{ messages | tojson }}{{ messages | tojson(indent=2, ensure_ascii=True, sort_keys=True) }}",
    "loop_controls": "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "namespace": "{% set ns = namespace(n=1, self=2) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ ns.self }}",
    "namespace_of_a_dict": "{% set ns = namespace({'n': 5}) %}{{ ns.n }}{{ ns.other }}",
    "dict": "{{ dict(a=1) }}{{ dict.fromkeys(['b'], 2) }}",
    "generation": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "string_methods": "{{ 'abc'.upper() }}{{ 'a b'.split() | join('-') }}{{ '' [:1] }}{{ 'a'[5] }}",
    "date": "{{ strftime_now('%Y') }}",
}
REFUSED = {
    "syntax": "{% if %}",
    "unclosed_generation": "{% generation %}",
    "raised": "{{ raise_exception('no') }}",
    "undefined": "{{ missing.attribute }}",
    "type": "{{ 1 + 'a' }}",
    "zero": "{{ 1 / 0 }}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class_of_dict": "{{ dict.__class__.__init__.__globals__.x }}",
    "changes_its_input": "{{ messages.append(1) }}",
    "namespace_underscore": "{% set ns = namespace(_a=1) %}",
    "namespace_underscore_set": "{% set ns = namespace() %}{% set ns._a = 1 %}",
    "range": "{% for i in range(1000000) %}{% endfor %}",
    "format": "{{ '{0.__class__.__mro__.x}'.format(1).y }}",
}


def theirs(template):
    return render_jinja_template([MESSAGES], chat_template=template, **SPECIALS)[0][0]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_as_transformers(template):
    assert ChatTemplate(template, SPECIALS).render(MESSAGES) == theirs(template)


@pytest.mark.parametrize("template", REFUSED.values(), ids=REFUSED)
def test_refused_as_there(template):
    with pytest.raises(Exception):  # noqa: B017, PT011 -- whatever it is, ours is one error
        theirs(template)
    with pytest.raises(BundleError, match="chat template"):
        ChatTemplate(template, SPECIALS).render(MESSAGES)


def test_the_message_of_a_template_is_told():
    with pytest.raises(BundleError, match=r"fails: one voice only\. Convert"):
        ChatTemplate("{{ raise_exception('one voice only') }}", {}).render([])
