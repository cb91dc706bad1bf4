"""Images and sound as data URIs: PNG from arrays, WAV from samples, with nothing but zlib and struct."""

import base64
import struct
import zlib

import numpy as np

from toolkit.output.audio import pcm_from_float

SHADES = 255  # the last colour of the palette is that of what is not finite
NOT_FINITE = np.array([255, 0, 160], np.uint8)
# Viridis at nine places, after Smith and van der Walt (matplotlib, CC0).
_VIRIDIS = np.array([
    [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140],
    [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37],
])  # fmt: skip


def palette() -> np.ndarray:
    """[256, 3] uint8: viridis in `SHADES` steps, then `NOT_FINITE`."""
    places = np.linspace(0, len(_VIRIDIS) - 1, SHADES)
    channels = [np.interp(places, range(len(_VIRIDIS)), _VIRIDIS[:, c]) for c in range(3)]
    return np.vstack([np.rint(np.stack(channels, 1)).astype(np.uint8), NOT_FINITE])


def finite_range(*arrays: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite value; 0 and 0 where there is none."""
    values = np.concatenate([array[np.isfinite(array)].ravel() for array in arrays])
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def shades(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as places in the palette, uint8: `low` is 0, `high` the last shade, and what is not finite is apart."""
    finite = np.isfinite(values)
    scaled = (np.where(finite, values, low) - low) / ((high - low) or 1.0)
    places = np.rint(np.clip(scaled, 0, 1) * (SHADES - 1)).astype(np.uint8)
    return np.where(finite, places, np.uint8(SHADES))


def png(places: np.ndarray) -> bytes:
    """An image with the palette.

    Args:
        places: [rows, columns] uint8, the top row first; at least one of each.
    """
    height, width = places.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, indexed colours
    lines = np.hstack([np.zeros((height, 1), np.uint8), places])  # filter 0 before every line
    chunks = ((b"IHDR", header), (b"PLTE", palette().tobytes()), (b"IDAT", zlib.compress(lines.tobytes(), 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in (*chunks, (b"IEND", b"")))


def png_of_spectrogram(values: np.ndarray, low: float, high: float) -> bytes:
    """An image of [bins, frames], the lowest bin at the bottom."""
    return png(shades(values, low, high)[::-1])


def wav(samples: np.ndarray, rate: int) -> bytes:
    """A WAV of 16 bits; what is not finite is silent, what lies outside [-1, 1] is clipped.

    Args:
        samples: [n] float, full scale is 1.
        rate: in Hz.
    """
    pcm, _ = pcm_from_float(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0))
    data = pcm.tobytes()
    head = struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return head + form + struct.pack("<4sI", b"data", len(data)) + data


def data_uri(content: bytes, kind: str) -> str:
    """Content in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
