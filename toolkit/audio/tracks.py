"""Which audio track of a file is read, and what is said of the others."""

from collections.abc import Callable

import av
from av.audio import AudioStream
from av.stream import Disposition

from toolkit.errors import AudioError


class NoAudioTrack(Exception):
    """A picture, a text, or a film without sound."""


def chosen_track(
    container: av.container.InputContainer, track: int | None, name: str, notes: Callable[[str], None]
) -> AudioStream:
    """One audio track.

    Args:
        container: open file.
        track: its number among the audio tracks, from 1; None is the container's default, or the first.
        name: of the file, for messages.
        notes: takes a line where there are several and none was chosen.

    Raises:
        NoAudioTrack: there is none.
        AudioError: not so many, or one whose codec FFmpeg does not decode.
    """
    audio = container.streams.audio
    if not audio:
        raise NoAudioTrack
    if track is not None and not 1 <= track <= len(audio):
        raise AudioError(f"{name} has {_tracks(len(audio))}, and no track {track}", "Give --track another number.")
    index = _default(audio) if track is None else track - 1
    if audio[index].codec_context is None:  # decoding it would crash the process
        raise AudioError(
            f"the audio of {name} is in a codec that cannot be decoded", "Convert it to WAV or FLAC elsewhere."
        )
    if track is None and len(audio) > 1:
        listed = ", ".join(_shown(number, stream) for number, stream in enumerate(audio, start=1))
        notes(f"{name} has {_tracks(len(audio))} ({listed}); track {index + 1} is read, infer --track N reads another")
    return audio[index]


def _default(audio: tuple[AudioStream, ...]) -> int:
    return next((k for k, stream in enumerate(audio) if stream.disposition & Disposition.default), 0)


def _tracks(count: int) -> str:
    return f"{count} audio track{'' if count == 1 else 's'}"


def _shown(number: int, stream: AudioStream) -> str:
    told = [stream.metadata.get(key, "") for key in ("language", "title")]
    return " ".join([str(number), *(" ".join(text.split()) for text in told if text and text != "und")])
