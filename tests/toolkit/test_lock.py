"""The lock of a folder: who waits, who is told, and what is left of it."""

import errno
import subprocess
import sys
import threading
import time

import pytest

from toolkit import lock as module
from toolkit.lock import one_writer

HOLD = "import sys, time, pathlib; from toolkit.lock import one_writer\n"
HOLD += "with one_writer(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "bundle")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_nothing_is_left_of_it(tmp_path):
    with one_writer(tmp_path / "bundle"):
        assert [p.name for p in tmp_path.iterdir()] == [".bundle.lock"]
    assert not list(tmp_path.iterdir())


def test_who_waits_is_told_and_a_killed_holder_is_not_waited_for(tmp_path, holder):
    said = []
    threading.Timer(0.3, holder.kill).start()
    with one_writer(tmp_path / "bundle", said.append):
        assert len(said) == 1
        assert "another process is writing" in said[0]
    assert not list(tmp_path.iterdir())


def test_one_at_a_time_among_many(tmp_path):
    """The last holder removes the file that others wait for; they find the next one."""
    inside, most, lock = [], [], threading.Lock()

    def work():
        for _ in range(5):
            with one_writer(tmp_path / "bundle"):
                with lock:
                    inside.append(1)
                    most.append(len(inside))
                time.sleep(0.001)
                with lock:
                    inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (20, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_said_and_written(tmp_path, monkeypatch, number):
    def refuse(*args, **kwargs):
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    said = []
    with one_writer(tmp_path / "bundle", said.append):
        pass
    assert len(said) == 1
    assert "no file locks" in said[0]


def test_a_name_that_the_last_holder_removed_is_not_held(tmp_path, monkeypatch):
    """As on a network disk, where a removed file that is open keeps another name."""
    named = iter([False, True])
    monkeypatch.setattr(module, "_is_named", lambda file, descriptor: next(named))
    with one_writer(tmp_path / "bundle"):
        assert next(named, None) is None
