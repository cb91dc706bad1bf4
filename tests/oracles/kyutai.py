"""Kyutai's own pocket-tts beside ours: voices, latents, ends of speech, audio, preparation of texts, cloning."""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import load_file

from commands.conversion import ConvertRequest, convert, prepare
from models.pocket_tts import MODEL, export
from models.pocket_tts.codec import encode
from models.pocket_tts.kyutai.languages import LANGUAGES
from models.pocket_tts.kyutai.text import chat_template
from models.pocket_tts.parity.reference import Reference
from models.pocket_tts.pipeline import Pipeline
from models.pocket_tts.text import Prompter
from models.pocket_tts.voices import Voice, clone, open_voice
from tests.models.bundles import host_bundle
from tests.models.pocket_tts.host import save_calm_checkpoint
from tests.oracles.environment import environment
from tests.oracles.kyutai_tensors import fitting, write_tokenizer
from tests.oracles.kyutai_texts import OURS, TEXTS, difference_cells, named, ours_or_none
from tests.published_layouts.kyutai import write_language
from toolkit.audio.read import read_audio
from toolkit.cache import CACHE_VARIABLE
from toolkit.export.checkpoint import DEMO_FOLDER, resolve_checkpoint
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.portable import PortableRuntime

REQUIREMENT = "pocket-tts==4.0.1"
DEMO = DEMO_FOLDER / "checkpoints" / "pocket-tts"
CLIPS = ("ps_cards_001", "ps_goforward")
RATE = 16000
TOKENIZER = "published size.json"
SAID = (
    "Go on.",
    "The first card, then the second one.",
    "Please come back tomorrow, and bring the other two with you.",
)
# Of two chunks. In float16 a long text that runs free parts from any other implementation, here in one voice of three:
# the demo amplifies a rounding (`compare` measures it beside a control), so that float32 alone says it.
LONG = f"{SAID[2]} The last card is on the table, next to the first one."
SIZES = {"hidden_size": 32, "num_attention_heads": 2, "flow_head_config": {"frequency_embedding_size": 256}}
RANDOM = {
    "random, 6 layers, lsd": {"num_hidden_layers": 6},
    "random, 24 layers, lsd": {"num_hidden_layers": 24},
    "random, 6 layers, drifting": {"num_hidden_layers": 6, "flow_head_config": {"flow_type": "drifting"}},
    "random, grouped queries, no vector before the voice": {"num_key_value_heads": 1, "voice_bos": False},
}
# Largest relative L2 error of float32 and of float16 sides, of what the same noise made.
LIMITS = {"float32": 1e-4, "float16": 5e-2}
OPTIONS = {o.name: o.default for o in MODEL.options["convert"]}


@dataclass(frozen=True)
class Row:
    """One comparison: its worst number or its count, and whether it holds."""

    what: str
    found: str
    holds: bool


def relative(theirs, ours):
    """Relative L2 error; infinite where the shapes differ, or a value is not finite."""
    if theirs.shape != ours.shape or not np.isfinite([theirs.sum(), ours.sum()]).all():
        return float("inf")
    return float(np.linalg.norm(theirs - ours) / max(np.linalg.norm(theirs), 1e-30))


def compared(what, pairs, limit):
    """The worst relative error over (theirs, ours); infinite where there is nothing to compare."""
    worst = max((relative(theirs, ours) for theirs, ours in pairs), default=float("inf"))
    return Row(what, f"{worst:.1e}", worst <= limit)


def counted(what, pairs, names=()):
    """How many of (theirs, ours) are equal; `names` holds the name of each difference, empty for an unknown one."""
    equal = sum(theirs == ours for theirs, ours in pairs)
    return Row(what, f"{equal} of {len(pairs)}", len(pairs) - equal == sum(map(bool, names)))


def compare_speech(side, theirs, ours, limit):
    """Frames, latents, logits and audio of every chunk; `theirs` and `ours` hold VOICE/TEXT/CHUNK/WHAT -> array.

    A side with other frames counts as different, and is compared over those that both have.
    """
    keys = sorted({key.rpartition("/")[0] for key in theirs} | {key.rpartition("/")[0] for key in ours})
    assert keys, "nothing was said"
    nothing = np.zeros((0, 0), np.float32)
    lengths = [(len(theirs.get(f"{k}/latents", nothing)), len(ours.get(f"{k}/latents", nothing))) for k in keys]
    rows = [counted(f"{side}: frames until the end of speech", lengths)]
    for what in ("latents", "logits", "audio"):
        pairs = [(theirs[f"{k}/{what}"], ours[f"{k}/{what}"]) for k in keys if f"{k}/{what}" in theirs.keys() & ours]
        same = [tuple(one[: min(map(len, pair))] for one in pair) for pair in pairs]
        rows.append(compared(f"{side}: {what}", same, limit))
    return rows


def run():
    """The tables as Markdown."""
    start = time.monotonic()
    python = environment("kyutai", REQUIREMENT)
    with tempfile.TemporaryDirectory() as name:
        os.environ[CACHE_VARIABLE] = str(Path(name) / "cache")
        folder = Path(name)
        checkpoints = write_checkpoints(folder)
        sides = {model: opened(yaml_file) for model, yaml_file in checkpoints.items()}
        write_job(folder, checkpoints, sides)
        subprocess.run([python, Path(__file__).with_name("kyutai_side.py"), folder], check=True)
        sections = {"The demo's weights": demo_rows(folder, checkpoints["demo"], sides["demo"])}
        for model in RANDOM:
            sections[model.capitalize()] = random_rows(folder, model, sides[model])
        pairs = fitting(folder, folder / TOKENIZER)
        sections["The published sizes"] = [
            counted("languages whose tensors, by name and shape, all find their place", pairs)
        ]
        sections["Preparation of texts"], differences = text_rows(folder, sides["demo"])
    return page(sections, differences, time.monotonic() - start)


def write_checkpoints(folder):
    """Name -> yaml of a checkpoint in Kyutai's layout, its paths absolute, as Kyutai's loader reads them."""
    sources = {"demo": DEMO} | {
        name: save_calm_checkpoint(
            folder / f"ours {number}",
            **SIZES | sizes | {"flow_head_config": SIZES["flow_head_config"] | sizes.get("flow_head_config", {})},
        )
        for number, (name, sizes) in enumerate(RANDOM.items())
    }
    found = {}
    for name, source in sources.items():
        target = folder / f"theirs {name}"
        write_language(source, target, yaml_name="config.yaml")
        content = yaml.safe_load((target / "config.yaml").read_text())
        content["weights_path"] = str(target / "model.safetensors")
        content["flow_lm"]["lookup_table"]["tokenizer_path"] = str(target / "tokenizer.json")
        (target / "config.yaml").write_text(yaml.safe_dump(content))
        found[name] = target / "config.yaml"
    return found


@dataclass(frozen=True)
class Side:
    """Our side of one checkpoint: its folder in transformers' layout, and the wrappers in float32."""

    folder: Path
    pipeline: Pipeline


def opened(yaml_file):
    checkpoint = resolve_checkpoint(MODEL, str(yaml_file))
    plan = export.plan(checkpoint.folder, OPTIONS | {"cache_slots": 1024, "state": "external"})
    bundle = host_bundle(yaml_file.parent / "bundle", MODEL, plan)
    return Side(checkpoint.folder, Pipeline(bundle, EagerRuntime(plan)))


def recordings(rate):
    return {name: read_audio(DEMO_FOLDER / "clips" / f"{name}.wav", rate) for name in CLIPS}


def write_job(folder, checkpoints, sides):
    models = []
    for number, (name, yaml_file) in enumerate(checkpoints.items()):
        pipeline = sides[name].pipeline
        voices = write_voices(folder, number, name, pipeline)
        noise = [np.stack(list(islice(pipeline.noise(chunk), 400))) for chunk in range(4)]
        np.save(folder / f"noise{number}.npy", np.stack(noise))
        models.append(
            {
                "name": f"m{number}",
                "yaml": str(yaml_file),
                "voices": voices,
                "texts": texts_of(name),
                "noise": f"noise{number}.npy",
            }
        )
    write_tokenizer(folder / TOKENIZER, LANGUAGES["english"].vocabulary)
    for name, samples in recordings(RATE).items():
        np.save(folder / f"{name}.npy", samples)
    job = {
        "models": models,
        "prepare": {"texts": TEXTS, "switches": {name: switches(LANGUAGES[name].text) for name in LANGUAGES}},
        "resample": {"rate": RATE, "names": CLIPS},
        "tensors": {"languages": list(LANGUAGES), "tokenizer": str(folder / TOKENIZER)},
    }
    (folder / "job.json").write_text(json.dumps(job))


def texts_of(name):
    return (*SAID, LONG) if name == "demo" else SAID[:2]


def demo_latents():
    return load_file(DEMO / "voices" / "kal.safetensors")["audio_prompt_latents"]


def write_voices(folder, number, name, pipeline):
    """For the demo its own voice and two recordings; for the others the tiny ones, and one projected already."""
    if name == "demo":
        voices = [{"name": "kal", "kind": "latents", "values": demo_latents()}]
        recorded = recordings(pipeline.sample_rate)
        voices += [{"name": clip, "kind": "samples", "values": samples} for clip, samples in recorded.items()]
    else:
        random = np.random.default_rng(number)
        width, latent = pipeline.host.backbone.width, len(pipeline.host.latent_mean)
        voices = [
            {"name": "latents", "kind": "latents", "values": random.standard_normal((9, latent)).astype(np.float32)},
            {"name": "projected", "kind": "projected", "values": random.standard_normal((7, width)).astype(np.float32)},
        ]
    for voice in voices:
        voice["file"] = f"voice{number}-{voice['name']}.npy"
        np.save(folder / voice["file"], voice.pop("values"))
    return voices


def switches(rules):
    """Our rules as the arguments of Kyutai's functions."""
    return {
        "pad_with_spaces_for_short_inputs": rules.pad_short,
        "remove_semicolons": rules.remove_semicolons,
        "append_terminal_punctuation": rules.end_sentences,
        "capitalize_first_letter": rules.capitalise,
        "replace_characters": dict(rules.replaced),
    }


def voice_files(folder, number):
    """Name -> the file that Kyutai's own exporter wrote."""
    return {file.stem.partition("-")[2]: file for file in sorted(folder.glob(f"m{number}-*.safetensors"))}


def spoken(pipeline, folder, number, texts):
    """Every voice says every text; the voices are read from the files that Kyutai's exporter wrote."""
    found = {}
    for name, file in voice_files(folder, number).items():
        pipeline.set_voice(other_voice(pipeline, file))
        for index, text in enumerate(texts):
            for chunk, prompt in enumerate(pipeline.chunks(text)):
                frames, decoder = list(pipeline.frames(prompt, pipeline.noise(chunk))), pipeline.decoder()
                key = f"{name}/{index}/{chunk}"
                found[f"{key}/latents"] = np.stack([frame.latent for frame in frames])
                found[f"{key}/logits"] = np.array([frame.eos_logit for frame in frames], np.float32)
                found[f"{key}/audio"] = np.concatenate([decoder.decode(frame.latent) for frame in frames])
    return found


def other_voice(pipeline, file):
    return open_voice(str(file), pipeline.bundle, pipeline.runtime, pipeline.host)


def referred(side, folder, number, texts):
    """The same by the class of transformers."""
    reference, found, pipeline = Reference(side.folder, side.folder / "audio_tokenizer"), {}, side.pipeline
    for name, file in voice_files(folder, number).items():
        voice = other_voice(pipeline, file)
        pipeline.set_voice(voice)
        for index, text in enumerate(texts):
            for chunk, prompt in enumerate(pipeline.chunks(text)):
                said = reference.run(prompt.chunk, voice, pipeline.noise(chunk), flow_steps=1)
                key = f"{name}/{index}/{chunk}"
                found |= {f"{key}/latents": said.latents, f"{key}/logits": said.eos_logits, f"{key}/audio": said.audio}
    return found


def demo_rows(folder, yaml_file, side):
    theirs = dict(np.load(folder / "m0.npz"))
    rows = [*cache_rows(folder, side.pipeline), *resampled_rows(folder, side.pipeline)]
    rows += compare_speech("transformers", theirs, referred(side, folder, 0, texts_of("demo")), LIMITS["float32"])
    for precision, name in (("fp32", "float32"), ("fp16", "float16")):
        # Between calls the model's own cache holds float16, whatever the precision; the caller's holds float32.
        options = {"state": "external" if precision == "fp32" else "stateful"}
        request = ConvertRequest(MODEL, str(yaml_file), output=folder / precision, precision=precision, options=options)
        bundle = convert(prepare(request)).bundle
        pipeline = Pipeline(bundle, PortableRuntime(bundle.locate))
        texts = texts_of("demo") if precision == "fp32" else SAID
        said = {key: array for key, array in theirs.items() if int(key.split("/")[1]) < len(texts)}
        title = f"{name} packages, {len(texts)} texts"
        rows += compare_speech(title, said, spoken(pipeline, folder, 0, texts), LIMITS[name])
    return rows


def cache_rows(folder, pipeline):
    """What Kyutai's backbone made of each voice, and what ours makes of the same latents or recording."""
    pairs = []
    recorded = recordings(pipeline.sample_rate)
    for name, file in voice_files(folder, 0).items():
        theirs = other_voice(pipeline, file).cache
        voice = clone(recorded[name], pipeline.bundle, pipeline.runtime, pipeline.host) if name in recorded else None
        if voice is None:
            voice = Voice(latents=demo_latents())
        pipeline.set_voice(voice)
        ours = pipeline.prefix(pipeline.chunks(SAID[0])[0])
        pairs += [(theirs.keys, ours.keys), (theirs.values, ours.values)]
    return [compared("voice cache, of the demo's voice and two recordings", pairs, LIMITS["float32"])]


def resampled_rows(folder, pipeline):
    """Recordings at 16 kHz: what the other resampler makes of the latents. No limit: a difference by choice."""
    theirs, host = np.load(folder / "resampled.npz"), pipeline.host
    errors = []
    for name, samples in recordings(host.sample_rate).items():
        latents = theirs[f"{name}/latents"]
        samples = np.pad(samples, (0, -len(samples) % host.frame_samples))
        errors.append(relative(latents, encode(pipeline.runtime, host, samples)[: len(latents)]))
    return [Row("latents of recordings at 16 kHz, resampled by soxr here and by scipy there", spread(errors), True)]


def spread(errors):
    return f"{min(errors):.1e} to {max(errors):.1e}"


def random_rows(folder, model, side):
    number = 1 + list(RANDOM).index(model)
    theirs, texts = dict(np.load(folder / f"m{number}.npz")), texts_of(model)
    rows = compare_speech("transformers", theirs, referred(side, folder, number, texts), LIMITS["float32"])
    return rows + compare_speech("wrappers", theirs, spoken(side.pipeline, folder, number, texts), LIMITS["float32"])


def text_rows(folder, side):
    """Preparation by every language's switches; frames behind the end and chunks by the demo's tokenizer."""
    theirs = json.loads((folder / "prepared.json").read_text())
    host, tokenizer = side.pipeline.host, side.pipeline.bundle.asset("tokenizer.json")
    prompters = {
        name: Prompter(tokenizer, chat_template(LANGUAGES[name].text, voice_bos=True), host.special_tokens, host.text)
        for name in theirs
    }
    rows, differences = [], []
    for what, ours_of in OURS.items():
        found = [
            (what, text, expected and expected[what], ours_or_none(ours_of, prompters[name], text), name)
            for name, rows_of in theirs.items()
            for text, expected in zip(TEXTS, rows_of, strict=True)
        ]
        apart = [one for one in found if one[2] != one[3]]
        title = f"{what}, {len(TEXTS)} texts by the rules of {len(theirs)} languages"
        rows.append(counted(title, [one[2:4] for one in found], [named(*one[:4]) for one in apart]))
        differences += apart
    return rows, differences


BY_NAME = (
    "Resampler: a recording of another rate is resampled by soxr here and by scipy there.",
    "Float16: a long text that runs free parts from every other implementation, here in one voice of three; the "
    "packages in float16 are compared over the three short texts.",
    "Texts: those of the table below. All else of the preparation is equal.",
)


def page(sections, differences, seconds):
    """Markdown: a table for each section, and the differences of the texts."""
    lines = [
        "# Kyutai's pocket-tts beside ours",
        "",
        f"Made by `uv run python -m tests.oracles kyutai` with {REQUIREMENT}, in {seconds:.0f} s. The same weights, "
        "voices, texts and noise on both sides; relative L2 errors, the worst of all voices, texts and chunks.",
    ]
    for title, rows in sections.items():
        lines += ["", f"## {title}", "", "| what | found | holds |", "|---|---|---|"]
        lines += [f"| {row.what} | {row.found} | {'yes' if row.holds else '**no**'} |" for row in rows]
    lines += ["", "## Differences by name", "", *(f"- {difference}" for difference in BY_NAME)]
    lines += [
        "",
        "## Texts that differ",
        "",
        "| what | text | Kyutai | ours | languages | why |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(cells)} |" for cells in difference_cells(differences)]
    return "\n".join([*lines, ""])
