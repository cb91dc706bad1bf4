"""A damaged or hostile `.nemo` file is one line, and nothing of it is written or run."""

import io
import pickle
import tarfile
from pathlib import Path

import pytest
import torch

from models.parakeet_tdt import MODEL
from tests.models.parakeet_tdt.nemo_files import refused, same, tensors, written
from tests.published_layouts.nemo import PREFIX, saved, write_tar
from toolkit.export.checkpoint import resolve_checkpoint

TOKENIZER = f"{PREFIX}tokenizer.model"
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({TOKENIZER: None}, ("0 SentencePiece models",)),
        ({TOKENIZER: b"\x0a\xff damaged"}, (TOKENIZER, "is no SentencePiece model")),
        ({TOKENIZER: b""}, (TOKENIZER, "unknown piece")),
        ({"model_config.yaml": None}, ("holds no model_config.yaml",)),
        ({"model_weights.ckpt": None}, ("holds no model_weights.ckpt", "weights in one file")),
        ({"model_config.yaml": b"- 1"}, ("is no table",)),
        ({"model_config.yaml": b"a: [1"}, ("is no YAML",)),
        ({"model_config.yaml": b"\xff\xfe"}, ("is no YAML",)),
        ({"model_config.yaml": b"!!python/object/apply:os.system ['true']"}, ("is no YAML",)),
        ({"model_config.yaml": b"[" * 100000}, ("is no YAML",)),
        ({"model_weights.ckpt": b""}, ("damaged",)),
        ({"model_weights.ckpt": b"PK\x03\x04"}, ("damaged",)),
        ({"model_weights.ckpt": saved([torch.zeros(1)])}, ("no table of tensors",)),
        ({"model_weights.ckpt": saved({})}, ("no table of tensors",)),
        ({"sub/file": b""}, ("'./sub/file'", "no file with a plain name")),
        ({"../outside": b""}, ("outside", "no file with a plain name")),
        ({"/etc/x": b""}, ("no file with a plain name",)),
    ],
)
def test_a_damaged_or_hostile_member_is_one_line(archive, tiny, members, words, cache):
    refused(written(archive, tiny, members=members), "tiny.nemo", *words)
    assert not [f for f in cache.rglob("*") if f.is_file()]


class Attack:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_the_weights_does_not_run(archive, tiny, tmp_path, zipped):
    proof = tmp_path / "proof"
    content = saved({"a": Attack(proof)}) if zipped else pickle.dumps({"a": Attack(proof)})
    refused(written(archive, tiny, members={"model_weights.ckpt": content}), "damaged, or holds more than tensors")
    assert not proof.exists()


def test_weights_in_torch_s_older_format_are_read(archive, tiny):
    kept = {}
    written(archive, tiny, change=lambda c, t: kept.update(t))
    stream = io.BytesIO()
    torch.save(kept, stream, _use_new_zipfile_serialization=False)
    written(archive, tiny, members={"model_weights.ckpt": stream.getvalue()})
    assert same(tensors(resolve_checkpoint(MODEL, str(archive)).folder), tensors(tiny))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(archive, tiny, kind):
    written(archive, tiny)
    with tarfile.open(archive, "a") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    refused(archive, "'link'", "no file with a plain name")


def test_a_member_twice_is_refused(archive, tiny):
    written(archive, tiny)
    with tarfile.open(archive, "a") as tar:
        tar.addfile(tarfile.TarInfo("model_config.yaml"))
    refused(archive, "model_config.yaml twice")


def test_a_member_larger_than_the_file_is_refused(archive, tmp_path):
    archive.parent.mkdir()
    member = tarfile.TarInfo("model_weights.ckpt")
    member.size = 2**50
    archive.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    refused(archive, "declares more than the file can hold", "model_weights.ckpt")


def test_a_gzipped_member_that_only_repeats_itself_is_refused(archive):
    archive.parent.mkdir()
    write_tar(archive, {"model_config.yaml": b"a: 1", "model_weights.ckpt": bytes(2**24)}, "w:gz")
    refused(archive, "declares more than the file can hold")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_cut_anywhere_is_one_line(archive, tiny, mode):
    content = written(archive, tiny, mode=mode).read_bytes()
    for part in (0.0, 0.001, 0.01, 0.1, 0.5, 0.9):
        archive.write_bytes(content[: int(len(content) * part)])
        refused(archive, "tiny.nemo")


def test_an_unreadable_archive_is_one_line(archive):
    archive.parent.mkdir()
    archive.write_bytes(b"no tar" * 1000)
    refused(archive, "no whole tar archive")
