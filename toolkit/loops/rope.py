"""Rotary position tables, as the "default" rotary embeddings of transformers 5.23 compute them in float32.

Source: models/qwen3/modeling_qwen3.py, `Qwen3RotaryEmbedding`; models/qwen3_vl/modeling_qwen3_vl.py,
`Qwen3VLTextRotaryEmbedding`, for positions in three rows.
"""

import numpy as np


def rotary_tables(
    positions: np.ndarray, head_dim: int, theta: float, sections: tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the angles by which queries and keys are turned.

    Frequencies and angles are rounded to float32 as upstream's are: at position 9,000 that alone moves an angle by up
    to 5e-4 from the true one, and a model has learned with it. Only the cosine and sine of the rounded angle are taken
    in float64. Measured up to position 9,000: 6e-8 from upstream's tables where all frequencies are the same to the
    last bit; 5e-7 (theta 1e6, D 128) and 1.5e-5 (theta 5e6) where `pow` of torch rounds one of them the other way.

    Args:
        positions: [S] or [3, S] (time, height, width), integers from 0.
        head_dim: D, even.
        theta: base of the frequencies.
        sections: with three rows, frequencies that each row has; they take turns (interleaved MRoPE): time, height,
            width, time, ..., and what is left when height and width have theirs is time's.

    Returns:
        cos, sin: [S, D] float32, the D / 2 angles twice in a row, for the `rotate_half` layout.

    Raises:
        ValueError: rows and sections that do not belong together.
    """
    if positions.ndim != 1 + (sections is not None) or (sections and not len(positions) == len(sections) == 3):
        raise ValueError(f"positions {positions.shape} with sections {sections}")
    if sections and sum(sections) != head_dim // 2:
        raise ValueError(f"sections {sections} are not the {head_dim // 2} frequencies of {head_dim} dimensions")
    angles = positions.astype(np.float32)[..., None] * _frequencies(head_dim, theta)  # [S, D / 2] or [3, S, D / 2]
    chosen = angles if sections is None else _interleaved(angles, sections)
    repeated = np.concatenate([chosen, chosen], axis=-1).astype(np.float64)  # [S, D / 2] -> [S, D]
    return np.cos(repeated).astype(np.float32), np.sin(repeated).astype(np.float32)


def _frequencies(head_dim: int, theta: float) -> np.ndarray:
    """theta ** (-2 i / D) [D / 2] float32, each step rounded as upstream rounds it."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    powers = np.power(theta, exponents.astype(np.float64)).astype(np.float32)
    return np.float32(1.0) / powers


def _interleaved(angles: np.ndarray, sections: tuple[int, ...]) -> np.ndarray:
    """One row of angles out of three: [3, S, D / 2] -> [S, D / 2]."""
    chosen: np.ndarray = angles[0].copy()
    for row in (1, 2):
        turns = slice(row, 3 * sections[row], 3)
        chosen[:, turns] = angles[row][:, turns]
    return chosen
