"""Native noise never reaches stdout."""

import subprocess
import sys

SCRIPT = """
import os, sys
from commands.native_output import divert_native_output
divert_native_output()
os.write(1, b"native noise\\n")
print("a result", flush=True)
sys.stdout.buffer.write(b"\\x00\\xff")
sys.stdout.flush()
os.write(1, b"more noise\\n")
subprocess = __import__("subprocess")
subprocess.run(["echo", "a child's noise"])
"""


def test_only_results_are_on_stdout():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"a result\n\x00\xff"
    assert done.stderr == b"native noise\nmore noise\na child's noise\n"


def test_a_closed_stdout_is_left_alone():
    script = (
        "import os, sys; os.close(1)\nfrom commands.native_output import divert_native_output; divert_native_output()"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode in (0, 120)


def test_under_a_test_runner_nothing_changes(capsys):
    from commands.native_output import divert_native_output

    before = sys.stdout
    divert_native_output()
    assert sys.stdout is before
