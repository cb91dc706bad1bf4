"""`convert publish` to a hub on this machine, and `infer`, `compare` and `inspect` of what was published."""

import json
import shutil

import pytest

import compare
import convert
import infer
from tests.command_runner import command_runner
from tests.hub import COMMIT
from tests.hub.writing import LARGE_BYTES, TOKEN

# huggingface_hub hands its HTTP client the content of an upload in a way that the client calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPOSITORY = "acme/parakeet-coreml"
NAME = f"hub:{REPOSITORY}"
CLIP = "demo/clips/ps_cards_001.wav"


@pytest.fixture
def run(monkeypatch, capsys):
    """A function of a command and its arguments: (exit code, stdout, stderr)."""

    def call(command, *arguments):
        return command_runner(command, monkeypatch, capsys)(*arguments)

    return call


@pytest.fixture(autouse=True)
def _no_token(monkeypatch, tmp_path):
    """The user's own token stays out of the tests; one that may write comes from `token`."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "tokens"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def published(hub, token, run, parakeet_bundle):
    """The demo bundle on the hub."""
    code, _, err = run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY)
    assert code == 0, err
    return hub


def files_of(folder):
    """Names below a folder, without what Core ML compiled where the suite runs as on a Mac."""
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    return {name for name in names if not name.startswith(".compiled/")}


def distinct_sizes(folder):
    """Bytes of each content: files with the same one (the weights of the two joints) travel once."""
    return [len(content) for content in {(folder / name).read_bytes() for name in files_of(folder)}]


def error_of(outcome):
    code, out, err = outcome
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, out, len(errors)) == (2, "", 1), (code, out, err)
    return errors[0]


def test_what_was_published_is_what_was_converted_and_a_card(published, parakeet_bundle):
    folder = published.folders[REPOSITORY]
    assert files_of(folder) == files_of(parakeet_bundle) | {"README.md", "LICENSE", ".gitattributes"}
    for name in files_of(parakeet_bundle):
        assert (folder / name).read_bytes() == (parakeet_bundle / name).read_bytes(), name
    assert f"hub:{REPOSITORY}" in (folder / "README.md").read_text()


def test_all_goes_into_one_commit(published):
    assert [path for _, path in published.writes if "/commit/" in path] == [f"api/models/{REPOSITORY}/commit/main"]


def test_infer_says_the_same_from_the_hub(published, run, parakeet_bundle):
    here = run(infer, CLIP, "--bundle", parakeet_bundle, "--format", "json")
    code, out, err = run(infer, CLIP, "--bundle", NAME, "--format", "json")
    assert code == 0, err
    there, here = json.loads(out), json.loads(here[1])
    assert there["text"]
    assert {**there, "rtfx": 0} == {**here, "rtfx": 0}


def test_only_what_the_manifest_names_is_fetched_and_once(published, run, parakeet_bundle):
    for _ in range(2):
        assert run(infer, CLIP, "--bundle", f"{NAME}@main")[0] == 0
    assert published.fetched.keys() <= {f"{REPOSITORY}/{name}" for name in files_of(parakeet_bundle)}
    assert sum(published.fetched.values()) == sum(distinct_sizes(parakeet_bundle))


def test_a_bundle_is_found_again_without_the_hub(published, run, monkeypatch):
    assert run(infer, CLIP, "--bundle", NAME)[0] == 0
    published.folders.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, out, err = run(infer, CLIP, "--bundle", NAME)
    assert (code, bool(out.strip())) == (0, True), err


def test_inspect_and_compare_take_it_too(published, run):
    code, out, err = run(convert, "inspect", NAME, "--json")
    assert code == 0, err
    assert {c["name"] for c in json.loads(out)["components"]} >= {"encoder", "joint"}
    code, out, err = run(compare, "--bundle", NAME, "--num-files", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["models"][0]["about"]["bundle"] == NAME


def test_a_dry_run_sends_nothing(hub, run, parakeet_bundle):
    """No token is needed, and no request is made."""
    code, out, err = run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY, "--dry-run")
    assert code == 0
    assert out.startswith("---\n")
    assert "encoder.mlpackage/Data/com.apple.CoreML/weights/weight.bin" in err
    assert not hub.writes
    assert not hub.fetched


def test_a_dry_run_counts_the_bytes_that_are_sent(hub, token, run, parakeet_bundle):
    publish = ("publish", parakeet_bundle, "--repo", REPOSITORY, "--json")
    planned = json.loads(run(convert, *publish, "--dry-run")[1])["files"]
    assert run(convert, *publish)[0] == 0
    folder = hub.folders[REPOSITORY]
    assert planned == {name: (folder / name).stat().st_size for name in files_of(folder) - {".gitattributes"}}
    assert hub.bytes_uploaded == sum(size for size in distinct_sizes(folder) if size >= LARGE_BYTES)


def test_hidden_and_compiled_files_stay_here(hub, token, run, parakeet_bundle, tmp_path):
    bundle = shutil.copytree(parakeet_bundle, tmp_path / "bundle")
    (bundle / ".compiled").mkdir(exist_ok=True)
    (bundle / ".compiled" / "encoder.mlmodelc").write_bytes(b"x")
    (bundle / "notes.txt").write_text("not of the bundle")
    assert run(convert, "publish", bundle, "--repo", REPOSITORY)[0] == 0
    published = {file.name for file in hub.folders[REPOSITORY].rglob("*")}
    assert not {name for name in published if "compiled" in name or "notes" in name}


def test_without_a_token_nothing_is_sent(hub, run, parakeet_bundle):
    assert "no token" in error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))
    assert not hub.writes


@pytest.mark.parametrize("constant", [("ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", True)])
def test_a_hub_out_of_reach_is_one_line(hub, token, run, parakeet_bundle, monkeypatch, constant):
    monkeypatch.setattr(f"huggingface_hub.constants.{constant[0]}", constant[1])
    error = error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))
    assert f"cannot reach {REPOSITORY}" in error
    assert "Check the network" in error
    assert not hub.writes


def test_an_upload_that_breaks_leaves_the_old_bundle(published, run, parakeet_bundle, tmp_path):
    bundle = shutil.copytree(parakeet_bundle, tmp_path / "bundle")
    change_manifest(bundle, versions={"torch": "other"})
    before, published.broken = published.folders[REPOSITORY], True
    assert "with 500" in error_of(run(convert, "publish", bundle, "--repo", REPOSITORY))
    assert published.folders[REPOSITORY] == before


def test_a_token_that_the_hub_does_not_know(hub, run, parakeet_bundle, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert "does not accept the token" in error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))
    assert REPOSITORY not in hub.folders


def test_a_token_without_the_right(hub, token, run, parakeet_bundle):
    hub.forbidden.add("acme")
    error = error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))
    assert "may not write to acme/parakeet-coreml. Use a token with write access to acme" in error


def test_a_private_repository_is_seen_with_the_token_only(hub, token, run, parakeet_bundle, monkeypatch):
    assert run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY, "--private")[0] == 0
    assert hub.private == {REPOSITORY}
    assert run(convert, "inspect", NAME)[0] == 0
    monkeypatch.delenv("HF_TOKEN")
    assert "set HF_TOKEN" in error_of(run(convert, "inspect", NAME))


def test_private_never_goes_to_a_public_repository(published, run, parakeet_bundle):
    before = published.commits[REPOSITORY]
    assert "is public" in error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY, "--private"))
    assert published.commits[REPOSITORY] == before


def test_a_repository_of_something_else_is_left_alone(hub, token, run, parakeet_bundle, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").write_bytes(b"weights")
    hub.publish(REPOSITORY, tmp_path / "other")
    error = error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))
    assert "holds something that is not a bundle (model.safetensors)" in error
    assert files_of(hub.folders[REPOSITORY]) == {"model.safetensors"}


def change_manifest(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_bundle_of_another_model_is_left_alone(published, run, parakeet_bundle):
    change_manifest(published.folders[REPOSITORY], model="pocket-tts")
    error = error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))
    assert "holds a bundle of pocket-tts, not of parakeet-tdt" in error


def test_publishing_again_replaces_the_bundle_and_removes_what_it_no_longer_has(published, run, parakeet_bundle):
    folder = published.folders[REPOSITORY]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "old.txt").write_text("an asset of the old bundle")
    (folder / "notes.md").write_text("the owner's own")
    change_manifest(folder, assets=[*manifest["assets"], {"file": "old.txt", "sha256": "0"}])
    assert run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY)[0] == 0
    assert files_of(published.folders[REPOSITORY]) == files_of(parakeet_bundle) | {
        *("README.md", "LICENSE", ".gitattributes", "notes.md")
    }


def test_a_bundle_of_an_older_schema_is_replaced_too(published, run, parakeet_bundle):
    change_manifest(published.folders[REPOSITORY], schema_version=0, unknown="key")
    assert run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY)[0] == 0
    assert json.loads((published.folders[REPOSITORY] / "manifest.json").read_text())["schema_version"] == 1


def test_a_manifest_of_something_else_is_left_alone(published, run, parakeet_bundle):
    (published.folders[REPOSITORY] / "manifest.json").write_text('{"name": "a web page"}')
    error = error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))
    assert "holds a manifest.json that is not a bundle's" in error


def test_a_change_by_another_during_the_upload_is_not_overwritten(published, run, parakeet_bundle):
    published.before_commit = lambda: published.commits.update({REPOSITORY: "f" * 40})
    change_manifest(published.folders[REPOSITORY], options={})
    assert "was changed during the upload" in error_of(run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY))


def test_a_failed_gate_is_published_only_when_asked_and_named(hub, run, parakeet_bundle, tmp_path):
    bundle = shutil.copytree(parakeet_bundle, tmp_path / "bundle")
    components = json.loads((bundle / "manifest.json").read_text())["components"]
    components[0]["parity"][0]["passed"] = False
    change_manifest(bundle, components=components)
    publish = ("publish", bundle, "--repo", REPOSITORY, "--dry-run")
    assert "outputs that fail their gates: encoder: encoder" in error_of(run(convert, *publish))
    code, out, _ = run(convert, *publish, "--allow-failed")
    assert code == 0
    assert "> - encoder: encoder" in out


WRONG_NAMES = {
    "hub:acme": "names no bundle on the hub",
    "hub:acme/nothing": "the hub has no public acme/nothing",
    f"{NAME}@v9": "has no revision v9",
}


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_a_wrong_name_is_one_line(published, run, name):
    assert WRONG_NAMES[name] in error_of(run(infer, CLIP, "--bundle", name))


def no_manifest(folder):
    (folder / "manifest.json").unlink()


def older_schema(folder):
    change_manifest(folder, schema_version=0)


def damaged(folder):
    (folder / "tokenizer.json").write_text("{}")


def incomplete(folder):
    shutil.rmtree(folder / "joint.mlpackage")


def leads_out(folder):
    change_manifest(folder, assets=[{"file": "../secret", "sha256": "0"}])


BROKEN = {
    no_manifest: "is not a bundle: it has no manifest.json",
    older_schema: "schema_version",
    damaged: "tokenizer.json is damaged",
    incomplete: "lacks joint.mlpackage",
    leads_out: "lacks ../secret",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_bundle_is_one_line_and_leaves_nothing(published, run, tmp_path, break_it):
    break_it(published.folders[REPOSITORY])
    error = error_of(run(infer, CLIP, "--bundle", NAME))
    assert BROKEN[break_it] in error
    assert NAME in error
    kept = tmp_path / "translated" / "bundles"
    assert not [file for file in kept.rglob("*") if file.is_file()]


def test_a_copy_that_was_damaged_here_says_how_to_have_it_again(published, run, tmp_path):
    assert run(infer, CLIP, "--bundle", NAME)[0] == 0
    (copy,) = (tmp_path / "translated" / "bundles").rglob("tokenizer.json")
    copy.unlink()
    copy.write_text("{}")
    error = error_of(run(infer, CLIP, "--bundle", NAME))
    assert "Delete this folder: it is then fetched again" in error
    shutil.rmtree(copy.parent)
    assert run(infer, CLIP, "--bundle", NAME)[0] == 0


def test_a_bundle_of_other_code_is_refused_with_what_to_do(published, run):
    folder = published.folders[REPOSITORY]
    components = json.loads((folder / "manifest.json").read_text())["components"]
    components[0]["sources"] = dict.fromkeys(components[0]["sources"], "0")
    change_manifest(folder, components=components)
    error = error_of(run(infer, CLIP, "--bundle", NAME))
    assert "encoder was made by another version of" in error
    assert "Ask its owner to publish it again, or make a bundle of your own: `convert parakeet-tdt" in error
    assert "--output" not in error


def test_audio_that_is_not_there_is_refused_before_the_packages_are_fetched(published, run):
    assert "nowhere.wav" in error_of(run(infer, "nowhere.wav", "--bundle", NAME))
    assert set(published.fetched) == {f"{REPOSITORY}/manifest.json"}


def test_a_bundle_without_all_components_is_published_with_a_note(hub, run, parakeet_bundle, tmp_path):
    bundle = shutil.copytree(parakeet_bundle, tmp_path / "bundle")
    components = json.loads((bundle / "manifest.json").read_text())["components"]
    change_manifest(bundle, components=components[1:])
    code, _, err = run(convert, "publish", bundle, "--repo", REPOSITORY, "--dry-run")
    assert code == 0
    assert "note: the bundle has no encoder" in err


def test_results_of_compare_enter_the_card(hub, run, parakeet_bundle, tmp_path):
    code, out, err = run(compare, "--bundle", parakeet_bundle, "--num-files", "1", "--json")
    assert code == 0, err
    (tmp_path / "results.json").write_text(out)
    publish = ("publish", parakeet_bundle, "--repo", REPOSITORY, "--dry-run", "--results", tmp_path / "results.json")
    code, card, err = run(convert, *publish)
    assert code == 0, err
    assert "| words | WER of the PyTorch model | " in card


def test_the_card_goes_to_a_file_when_asked(hub, run, parakeet_bundle, tmp_path):
    card = tmp_path / "card.md"
    code, out, _ = run(convert, "publish", parakeet_bundle, "--repo", REPOSITORY, "--dry-run", "--card", card)
    assert (code, out) == (0, "")
    assert "license: cc-by-sa-4.0" in card.read_text()


def test_the_licence_of_a_checkpoint_on_the_hub_is_that_of_its_card(hub, run, parakeet_bundle, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "README.md").write_text("---\nlicense: cc-by-4.0\nlanguage: de\n---\n")
    hub.publish("nvidia/parakeet", tmp_path / "checkpoint")
    bundle = shutil.copytree(parakeet_bundle, tmp_path / "bundle")
    checkpoint = {"id": "nvidia/parakeet", "kind": "hub", "revision": COMMIT, "sha256": "0"}
    change_manifest(bundle, checkpoint={**checkpoint, "location": "nvidia/parakeet"})
    code, card, err = run(convert, "publish", bundle, "--repo", REPOSITORY, "--dry-run")
    assert code == 0, err
    assert "base_model: nvidia/parakeet" in card
    assert "license: cc-by-4.0" in card
    assert "language:\n- de\n" in card


@pytest.mark.parametrize("name", ["parakeet", "acme/para keet", "a/b/c"])
def test_a_wrong_repository_is_refused_first(hub, run, tmp_path, name):
    error = error_of(run(convert, "publish", tmp_path / "nothing", "--repo", name))
    assert f"'{name}' is no name of a repository" in error


def test_no_path_of_this_machine_is_published(hub, token, run, parakeet_bundle, tmp_path):
    bundle = shutil.copytree(parakeet_bundle, tmp_path / "bundle")
    checkpoint = {"id": "mine", "kind": "folder", "revision": None, "sha256": "0", "location": str(tmp_path / "mine")}
    change_manifest(bundle, checkpoint=checkpoint, options={"codec": str(tmp_path / "codec")})
    code, _, err = run(convert, "publish", bundle, "--repo", REPOSITORY)
    assert code == 0, err
    folder = hub.folders[REPOSITORY]
    for name in ("manifest.json", "README.md"):
        assert str(tmp_path) not in (folder / name).read_text()
    assert "license: other" in (folder / "README.md").read_text()
