"""The errors of the toolkit, each with the exit code that a command ends with.

ToolkitError                    what was given cannot be used                            exit 2
├── AudioError                  not audio, empty, silent device, NaN, too short          exit 2
├── CheckpointError             missing, unreadable, wrong architecture, no safetensors  exit 2
│   └── NoDemo                  the model has no demo checkpoint                         exit 2
├── OptionError                 an option's value cannot be used                         exit 2
├── BundleError                 missing, damaged, stale or foreign bundle                exit 2
├── PublishError                 the hub refuses a bundle, or holds something else there   exit 2
├── OutputError                 cannot write: disk full, read-only, exists               exit 2
├── UnsupportedError            a runtime or op that is not available here               exit 3
├── RuntimeFault                a component broke its own contract                       exit 4
│   └── ComponentFault          names the component, and the tensor that is not finite   exit 4
│       └── LoadRefused         the runtime cannot load the function on this machine     exit 3
└── Interrupted                 Ctrl-C, with something worth keeping                     exit 130

A failed gate is no error: the commands report it and exit 1. Anything that is not a ToolkitError is an internal fault
and exits 4 with its traceback (commands/terminal.py).
"""

from typing import ClassVar

FIND_STAGE = "Run `compare --bundle DIR` to find the stage at fault."


class ToolkitError(Exception):
    """Base of all errors that a user can act on.

    Args:
        message: what is wrong, in one line.
        next_step: what to do about it, an imperative sentence.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, next_step: str) -> None:
        self.message, self.next_step = message, next_step
        super().__init__(f"{' '.join(message.split())}. {next_step}")


class AudioError(ToolkitError):
    """The audio cannot be used."""


class CheckpointError(ToolkitError):
    """The checkpoint cannot be used."""


class NoDemo(CheckpointError):
    """The demo of a model was asked for, and no demo checkpoint of it ships with the project."""


class OptionError(ToolkitError):
    """The value of an option, or the name of a model, cannot be used.

    Args:
        message: what is wrong, in one line.
        next_step: what to do about it.
    """

    def __init__(self, message: str, next_step: str = "See --help.") -> None:
        super().__init__(message, next_step)


class BundleError(ToolkitError):
    """The bundle cannot be used."""


class PublishError(ToolkitError):
    """The bundle cannot be published."""


class OutputError(ToolkitError):
    """The result cannot be written."""


class UnsupportedError(ToolkitError):
    """A runtime, or an op of a package, is not available on this machine."""

    exit_code = 3


class RuntimeFault(ToolkitError):
    """A component returned something that its own description rules out, or failed while running."""

    exit_code = 4


class ComponentFault(RuntimeFault):
    """One function of a component broke its own description.

    Args:
        component: its name.
        function: entry point.
        reason: what is wrong, in one line.
        next_step: what to do about it.
        tensor: `NAME` of the output, or `state NAME`, that holds NaN or infinity; empty where the fault is another.
    """

    def __init__(self, component: str, function: str, reason: str, next_step: str, tensor: str = "") -> None:
        self.component, self.reason, self.tensor = component, reason, tensor
        super().__init__(f"component {component} ({function}): {reason}", next_step)


class LoadRefused(ComponentFault):
    """The runtime cannot load one function on this machine; the other components are not concerned."""

    exit_code = 3


class Interrupted(ToolkitError):
    """The user stopped the command; what was finished is kept."""

    exit_code = 130
