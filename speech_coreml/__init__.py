"""Speech models from bundles, in Python: transcribe, align, speak.

    import speech_coreml

    model = speech_coreml.load("build/demo")
    print(model.transcribe("talk.m4a").text)

`load` opens a folder that `convert` wrote, or `hub:OWNER/NAME`. On macOS it runs with Core ML, elsewhere with the
portable runtime. Errors that a caller can act on are `ToolkitError`s; notes go to the logger `speech_coreml`.
"""

from speech_coreml.model import SpeechModel, load
from speech_coreml.speech import Speech
from toolkit.errors import AudioError, BundleError, OptionError, RuntimeFault, ToolkitError, UnsupportedError
from toolkit.output.cues import CueLimits
from toolkit.output.formats import Format, render
from toolkit.output.result import Failure, Result
from toolkit.transcript import Segment, Token, Transcript, Word

__all__ = [
    "AudioError",
    "BundleError",
    "CueLimits",
    "Failure",
    "Format",
    "OptionError",
    "Result",
    "RuntimeFault",
    "Segment",
    "Speech",
    "SpeechModel",
    "Token",
    "ToolkitError",
    "Transcript",
    "UnsupportedError",
    "Word",
    "load",
    "render",
]
