"""The text for PocketTTS: split into chunks, each chunk laid out as token ids, with a limit on its frames.

Source: transformers 5.23, models/pocket_tts/processing_pocket_tts.py, and `generate` in generation_pocket_tts.py.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from toolkit.bundle.host_constants import HostSchema
from toolkit.errors import BundleError, ToolkitError
from toolkit.text.chat_template import ChatTemplate
from toolkit.text.detokenise import load_tokenizer

_SENTENCE_ENDS = (".", "!", "...", "?")
_CLAUSE_ENDS = (",", ";", ":")
_NEAR_IDS = 8  # what decides about a decimal point: two characters before, and one after a blank
# The budget of `generate`: seconds that a text can take.
_TOKENS_A_SECOND, _SPARE_S = 3, 2


class TextRules(HostSchema):
    """The rules for texts, from the processor and the model's config.

    Attributes:
        short_text_max_words: most words of a short text.
        frames_after_eos_short_text: frames of a short text after the one that ends its speech.
        frames_after_eos: the same of a longer one.
        frame_rate: frames a second.
        audio_prompt_bos: id in front of the voice; None where the tokenizer has no such token.
        audio_prompt: id in place of the voice.
        audio_latent: id in place of a frame.
        audio_bos: id in place of the first frame's input, which ends a prompt.
    """

    short_text_max_words: int = Field(ge=0)
    frames_after_eos_short_text: int = Field(ge=0)
    frames_after_eos: int = Field(ge=0)
    frame_rate: float = Field(gt=0)
    audio_prompt_bos: int | None = Field(ge=0)
    audio_prompt: int = Field(ge=0)
    audio_latent: int = Field(ge=0)
    audio_bos: int = Field(ge=0)


@dataclass(frozen=True)
class Prompt:
    """One chunk, ready for the backbone.

    Attributes:
        before_voice: ids in front of the voice's frames; none where the voice comes as a cache.
        text: ids behind the voice and before the first position of audio.
        frames_after_eos: frames to make after the one that ends the speech.
        max_frames: frames after which the speech ends in any case.
        chunk: the text as it was split off, before the template prepared it.
    """

    before_voice: tuple[int, ...]
    text: tuple[int, ...]
    frames_after_eos: int
    max_frames: int
    chunk: str


class Prompter:
    """Prompts from texts, by a checkpoint's own rules.

    Args:
        tokenizer_json: tokenizer.json.
        template: chat_template.jinja, which holds the rules of the language (capitals, full stops, blanks).
        special_tokens: the tokenizer's `special_tokens_map`.
        rules: the rules of the processor and the model's config.

    Raises:
        BundleError: the tokenizer or the template cannot be read, or an id of the rules is not in the vocabulary.
    """

    def __init__(
        self, tokenizer_json: Path, template: str, special_tokens: Mapping[str, str], rules: TextRules
    ) -> None:
        self._rules = rules
        self._template = ChatTemplate(template, special_tokens)
        self._bos = special_tokens.get("bos_token")
        self._tokenizer = load_tokenizer(tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        ids = (rules.audio_prompt_bos, rules.audio_prompt, rules.audio_bos, rules.audio_latent)  # removed in this order
        self._placeholders = {i: self._token(i) for i in ids if i is not None}
        self._unknown = self._tokenizer.token_to_id(special_tokens.get("unk_token", ""))
        self._known: dict[str, bool] = {}
        self._bytes = self._held([f"<0x{byte:02X}>" for byte in range(256)])
        self._sentence_ends, self._clause_ends = self._held(_SENTENCE_ENDS), self._held(_CLAUSE_ENDS)

    def prompts(self, text: str, *, voice: bool, max_tokens: int = 50) -> list[Prompt]:
        """One prompt a chunk; chunks in which there is nothing to say, a closing quote for one, are left out.

        A chunk is longer than `max_tokens` where neither a sentence nor a clause ends within; its budget grows with it.

        Args:
            text: the text to speak.
            voice: whether the voice's frames stand in the prompt; False where they come as a cache.
            max_tokens: most tokens of a chunk of several segments.

        Raises:
            ToolkitError: the text is blank, says nothing that can be spoken, or holds a placeholder.
            BundleError: the template fails or lays the prompt out otherwise.
        """
        self._check(text)
        chunks = [chunk for chunk in self.split(text, max_tokens) if self._is_speech(chunk)]
        if not chunks:
            step = "Give a text in a language and script that the checkpoint was made for."
            raise ToolkitError("the model's tokenizer knows no letter of the text", step)
        return [self._prompt(chunk, self._ids(chunk, voice), voice) for chunk in chunks]

    def knows(self, character: str) -> bool:
        """Whether the tokenizer has a token, or bytes, for a character; without an unknown token it has for all."""
        if character not in self._known:
            self._known[character] = self._unknown is None or self._unknown not in self._encoded(character)
        return self._known[character]

    def split(self, text: str, max_tokens: int) -> list[str]:
        """Chunks that end with sentences, or with clauses of sentences longer than `max_tokens` tokens.

        Args:
            text: prepared by the template and cut as tokens, so that chunks of it read as the tokenizer decodes.
            max_tokens: segments are joined up to here.
        """
        segments: list[list[int]] = []
        for sentence in self._sentences(self._prepared(text)):
            segments += _split_after(sentence, self._clause_ends) if len(sentence) > max_tokens else [sentence]
        chunks, joined, tokens = [], "", 0
        for segment in segments:
            if joined and tokens + len(segment) > max_tokens:
                chunks.append(joined.strip())
                joined, tokens = "", 0
            decoded = self._decoded(segment)
            joined, tokens = f"{joined} {decoded}" if joined else decoded, tokens + len(segment)
        return [*chunks, joined.strip()] if joined else chunks

    def _check(self, text: str) -> None:
        if not text.strip():
            raise ToolkitError("the text is empty", "Give a text to speak.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ToolkitError("the text is not valid Unicode", "Give it in UTF-8.") from error
        if not any(map(str.isalnum, text)):
            raise ToolkitError("the text has no letter and no digit", "Give a text with words to speak.")
        self._refuse_placeholders(text)

    def _is_speech(self, chunk: str) -> bool:
        """Whether a letter or digit of the chunk reaches the model."""
        return any(map(str.isalnum, self._said(self._encoded(chunk))))

    def _refuse_placeholders(self, text: str) -> None:
        """A text that writes one would shift what stands for voice and audio."""
        written = self._placeholders.keys() & self._encoded(text)
        for i, token in self._placeholders.items():
            if token in text or i in written:
                raise ToolkitError(f"the text holds {token}, which stands for audio", "Remove it from the text.")

    def _prepared(self, text: str) -> list[int]:
        """Ids of the text as the template rewrites it, without the placeholders."""
        prompt = self._rendered(text, voice=False)
        for token in self._placeholders.values():
            prompt = prompt.replace(token, "")
        return self._encoded(prompt)

    def _sentences(self, ids: list[int]) -> list[list[int]]:
        return _split_after(ids, self._sentence_ends, [i for i in range(1, len(ids)) if self._is_decimal_point(ids, i)])

    def _is_decimal_point(self, ids: list[int], i: int) -> bool:
        """Whether a full stop ends before `i`, with digits on both sides; one blank after it counts for nothing.

        Upstream decodes all before and all after, which takes minutes for a long text; a few ids are enough.
        """
        if ids[i - 1] not in self._sentence_ends:
            return False
        start, stop = max(0, i - _NEAR_IDS), i + _NEAR_IDS
        while start > 0 and ids[start] in self._bytes:  # bytes become characters only together
            start -= 1
        while stop < len(ids) and ids[stop] in self._bytes:
            stop += 1
        before, after = self._decoded(ids[start:i])[-2:], self._decoded(ids[i:stop])[:1]
        return before[:1].isdigit() and before[1:] == "." and after.isdigit()

    def _prompt(self, chunk: str, ids: list[int], voice: bool) -> Prompt:
        rules = self._rules
        text_tokens = sum(i not in self._placeholders for i in ids)
        words = len(self._said(ids).split())
        short = words <= rules.short_text_max_words
        start = ids.index(rules.audio_prompt) if voice else -1
        return Prompt(
            before_voice=tuple(ids[: max(start, 0)]),
            text=tuple(ids[start + 1 : -1]),
            frames_after_eos=rules.frames_after_eos_short_text if short else rules.frames_after_eos,
            max_frames=math.ceil((text_tokens / _TOKENS_A_SECOND + _SPARE_S) * rules.frame_rate),
            chunk=chunk,
        )

    def _ids(self, chunk: str, voice: bool) -> list[int]:
        """Ids of a chunk's conversation, the layout checked."""
        self._refuse_placeholders(chunk)
        prompt = self._rendered(chunk, voice=voice)
        writes_bos = self._bos is not None and prompt.startswith(self._bos)
        ids = self._encoded(prompt, special=not writes_bos)
        layout = [i for i in ids if i in self._placeholders and i != self._rules.audio_prompt_bos]
        if layout != [self._rules.audio_prompt] * voice + [self._rules.audio_bos] or ids[-1] != self._rules.audio_bos:
            held = "the voice once and " if voice else ""
            raise BundleError(
                f"the chat template's prompt does not hold {held}the first position of audio at its end",
                "Convert the model again from a checkpoint whose chat template works in transformers.",
            )
        return ids

    def _rendered(self, text: str, *, voice: bool) -> str:
        content: list[dict[str, Any]] = [{"type": "audio"}] * voice + [{"type": "text", "text": text}]
        return self._template.render([{"role": "user", "content": content}])

    def _encoded(self, text: str, *, special: bool = False) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def _said(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _held(self, tokens: Sequence[str]) -> frozenset[int]:
        """Ids of those that the vocabulary holds."""
        held = (self._tokenizer.token_to_id(token) for token in tokens)
        return frozenset(i for i in held if i is not None and i != self._unknown)

    def _token(self, i: int) -> str:
        token = self._tokenizer.id_to_token(i)
        if token is None:
            raise BundleError(f"the tokenizer has no id {i}, which its rules name", "Convert the model again.")
        return str(token)


def _split_after(ids: list[int], ends: Collection[int], kept: Collection[int] = ()) -> list[list[int]]:
    """Ids split after each run of `ends`, but for the positions in `kept`."""
    starts = [i for i in range(1, len(ids)) if ids[i - 1] in ends and ids[i] not in ends and i not in kept]
    return [ids[start:stop] for start, stop in zip([0, *starts], [*starts, len(ids)], strict=True)]
