"""Options that models add to a command: what `--help` says of them, and what is refused."""

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

    app = typer.Typer(rich_markup_mode=None)
    app.command()(with_model_options(command, "infer", models))
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}, terminal_width=200)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_help_says_which_models_take_an_option_and_what_each_means_by_it():
    text = ModelOption("text", str, "", "What to say.")
    shown = help_of(
        model("parrot", text, WINGS),
        model("magpie", ModelOption("text", str, "one", "What is said.", ("one", "two")), WINGS),
        model("wren", text),
    )
    assert (
        "--text <str> [parrot, wren] What to say. [magpie] What is said. One of one, two. [default: one] "
        "--wings <int> [parrot, magpie] How many. [default: 2]" in shown
    )


def test_one_model_alone_is_not_named():
    assert "--wings <int> How many. [default: 2]" in help_of(model("parrot", WINGS))


def test_a_switch_shows_on_or_off_and_a_choice_of_one_only_that():
    switch = ModelOption("glide", bool, True, "Without a beat.")
    only = ModelOption("song", str, "off", "It is mute.", ("off",))
    shown = help_of(model("parrot", switch, only))
    assert "--glide / --no-glide Without a beat. [default: on]" in shown
    assert "--song <str> It is mute. Only off. --" in shown
    with pytest.raises(typer.BadParameter, match=r"--song is off only, not 'loud'\. It is mute\."):
        resolve_options(model("parrot", only), "infer", {"song": "loud"})


@pytest.mark.parametrize("command", ["infer", "compare"])
def test_every_option_of_the_commands_names_its_models(command):
    import compare
    import infer

    app = {"infer": infer, "compare": compare}[command].app
    shown = " ".join(CliRunner().invoke(app, ["--help"], terminal_width=200).output.split())
    for each in all_models().values():
        for option in each.options.get(command, ()):
            of_flag = shown.split(f"--{option.name.replace('_', '-')} ", 1)[1].split(" --", 1)[0]
            if option.type is bool:
                of_flag = shown.split(f"--no-{option.name.replace('_', '-')} ", 1)[1].split(" --", 1)[0]
            assert f"{each.id}" in of_flag, (option.name, of_flag)
            assert option.help.split()[0] in of_flag
