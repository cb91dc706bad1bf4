"""Recordings in many containers, written with FFmpeg's libraries: no test needs the ffmpeg program."""

import io
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np


@dataclass(frozen=True)
class Carrier:
    """A container with a codec, and what it can promise.

    Attributes:
        open_ended: it does not say where it ends: a cut between two frames is a shorter recording.
        delay: of the encoder, in samples at 16 kHz, that the container does not tell.
        exact: the samples come back as they were, to 16 bits.
        seekable: the writer can go back and fill in lengths.
        form: sample format of the encoder; None is its first.
    """

    container: str
    codec: str
    options: dict = field(default_factory=dict)
    open_ended: bool = False
    delay: int = 0
    exact: bool = False
    seekable: bool = True
    form: str | None = None


CARRIERS = {
    "wav": Carrier("wav", "pcm_s16le", exact=True),
    "wav_float": Carrier("wav", "pcm_f32le", exact=True),
    "wav_24": Carrier("wav", "pcm_s24le", exact=True),
    "rf64": Carrier("wav", "pcm_s16le", {"rf64": "always"}, exact=True),
    "wav_pipe": Carrier("wav", "pcm_s16le", exact=True, seekable=False, open_ended=True),
    "aiff": Carrier("aiff", "pcm_s16be", exact=True),
    "au": Carrier("au", "pcm_s16be", exact=True),
    "caf": Carrier("caf", "pcm_s16be", exact=True),
    "w64": Carrier("w64", "pcm_s16le", exact=True),
    "flac": Carrier("flac", "flac", exact=True),
    "flac_pipe": Carrier("flac", "flac", exact=True, seekable=False, open_ended=True),
    "ogg_flac": Carrier("ogg", "flac", exact=True),
    "alac": Carrier("ipod", "alac", exact=True),
    "tta": Carrier("tta", "tta", exact=True, form="s16"),
    "wavpack": Carrier("wv", "wavpack", exact=True, form="s16p"),
    "mka_pcm": Carrier("matroska", "pcm_s16le", exact=True),
    "mp3": Carrier("mp3", "libmp3lame"),
    "mp3_no_xing": Carrier("mp3", "libmp3lame", {"write_xing": "0"}, open_ended=True, delay=1105),
    "mp3_pipe": Carrier("mp3", "libmp3lame", open_ended=True, delay=1105, seekable=False),
    "mp2": Carrier("mp2", "mp2", open_ended=True, delay=481),
    "opus": Carrier("ogg", "libopus"),
    "webm": Carrier("webm", "libopus"),
    "webm_pipe": Carrier("webm", "libopus", seekable=False, open_ended=True),
    "mka_aac": Carrier("matroska", "aac"),
    "m4a": Carrier("ipod", "aac"),
    "mp4_fragments": Carrier(
        "mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "300000"}, open_ended=True, delay=1024
    ),
    "aac": Carrier("adts", "aac", open_ended=True, delay=1024),
    "ts": Carrier("mpegts", "mp2", open_ended=True, delay=481),
    "wma": Carrier("asf", "wmav2", delay=-512),
}


class _Pipe:
    """Takes bytes, and cannot go back."""

    def __init__(self):
        self.content = io.BytesIO()
        self.write = self.content.write


def speech(seconds=1.5, rate=16000, seed=0):
    """Noise in syllables, band-limited: any shift of it shows in its correlation."""
    count = int(seconds * rate)
    noise = np.random.default_rng(seed).standard_normal(count // (rate // 4000) + 2)
    slow = np.interp(np.arange(count), np.arange(len(noise)) * (rate // 4000), noise)
    loudness = 0.5 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(count) / rate)
    return (0.15 * loudness * slow).astype(np.float32)


def frames_of(samples, rate, start_s=0.0, length=320):
    """Frames of 20 ms at 16 kHz with time stamps; samples are [channels, n]."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    for at in range(0, samples.shape[1], length):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, at : at + length]), "fltp", layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = at + round(start_s * rate)
        yield frame


def encoded(carrier, samples, rate=16000, start_s=0.0):
    """The bytes of a file; samples are [channels, n] float32."""
    return muxed(carrier, [frames_of(samples, rate, start_s)], rate, len(samples))


def muxed(carrier, tracks, rate=16000, channels=1, metadata=()):
    """The bytes of a file with one audio track for each list of frames."""
    sink = io.BytesIO() if carrier.seekable else _Pipe()
    with av.open(sink, "w", format=carrier.container, options=dict(carrier.options)) as container:
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        streams = [container.add_stream(carrier.codec, rate=rate, layout=layout) for _ in tracks]
        for stream in streams:
            stream.bit_rate = 64000
            if carrier.form:
                stream.format = carrier.form
        for stream, told in zip(streams, metadata, strict=False):
            stream.metadata.update(told)
        packets = []
        for stream, frames in zip(streams, tracks, strict=True):
            for frame in [*frames, None]:
                packets += stream.encode(frame)
        for packet in packets if len(tracks) == 1 else sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return (sink if carrier.seekable else sink.content).getvalue()


def lag_of(audio, reference):
    """Samples by which `audio` is later."""
    size = 1 << (len(audio) + len(reference)).bit_length()
    product = np.conj(np.fft.rfft(reference, size)) * np.fft.rfft(audio, size)
    lag = int(np.fft.irfft(product, size).argmax())
    return lag if lag < size // 2 else lag - size
