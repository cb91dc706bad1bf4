"""Options that models add to a command: what `--help` says of them, and what is refused."""

import re
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from commands.options import resolve_options, with_model_options
from models import all_models
from toolkit.model import ModelInfo, ModelOption

WINGS = ModelOption("wings", int, 2, "How many.")


def model(id, *options):
    return ModelInfo(id, f"models.{id}", "alignment", "Bird", "zoo/bird", "a bird", options={"infer": options})


def help_of(*models):
    def command(*, extra: dict):
        """Fly."""

    app = typer.Typer(rich_markup_mode="markdown")
    app.command()(with_model_options(command, "infer", models))
    return words(app)


def words(app):
    """The words of a help page, without the frames of its panels."""
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert done.exit_code == 0, done.output
    return " ".join(re.sub("[\u2500-\u257f]", " ", done.output).split())


def test_help_has_a_panel_for_the_models_of_an_option_and_each_meaning():
    text = ModelOption("text", str, "", "Text to speak.")
    shown = help_of(
        model("parrot", text, WINGS),
        model("magpie", ModelOption("text", str, "one", "Text of the recording.", ("one", "two")), WINGS),
        model("wren", text),
    )
    assert (
        "parrot, magpie, wren --text <str> parrot, wren: Text to speak. magpie: Text of the recording. (default: one) "
        "parrot, magpie --wings <int> How many. (default: 2)" in shown
    )


def test_the_options_of_one_model_have_its_panel():
    assert "parrot --wings <int> How many. (default: 2)" in help_of(model("parrot", WINGS))


def test_a_switch_shows_on_or_off_and_choices_are_typers():
    switch = ModelOption("glide", bool, True, "Without a beat.")
    song = ModelOption("song", str, "off", "It sings.", ("off", "loud"))
    shown = help_of(model("parrot", switch, song))
    assert "--glide --no-glide <bool> Without a beat. (default: on)" in shown
    assert "--song <off|loud> It sings. (default: off)" in shown


def test_a_repeatable_choice_is_checked_value_by_value():
    forms = ModelOption("form", str, "a", "Forms.", ("a", "b"), repeatable=True)
    assert resolve_options(model("parrot", forms), "infer", {"form": "a,b"}) == {"form": "a,b"}
    with pytest.raises(typer.BadParameter, match="--form is one of a, b, not 'c'"):
        resolve_options(model("parrot", forms), "infer", {"form": "a,c"})


@pytest.mark.parametrize("other", [ModelOption("wings", str, "two", "How many."), replace(WINGS, repeatable=True)])
def test_two_models_that_declare_one_option_with_different_types_are_refused(other):
    with pytest.raises(TypeError, match=r"infer --wings has two types \(parrot: int, wren: .*\): give it another name"):
        help_of(model("parrot", WINGS), model("wren", other))


@pytest.mark.parametrize("command", ["infer", "compare"])
def test_every_option_of_the_commands_names_its_models(command):
    import compare
    import infer

    app = {"infer": infer, "compare": compare}[command].app
    shown = words(app).split(" Options ", 1)[1]
    for each in all_models().values():
        for option in each.options.get(command, ()):
            flag = f"--{option.name.replace('_', '-')}"
            before, after = shown.split(f" {flag} ", 1)
            panel = before.rsplit(each.id, 1)
            assert len(panel) == 2, f"{flag}: no panel of {each.id} before it"
            assert option.help.split()[0] in after
