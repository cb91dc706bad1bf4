"""What export modules of several models save for the host alike: features, tokenizer, fixed lengths."""

import json
from typing import Any

import numpy as np
import safetensors.numpy
import torch

# LOG_ZERO_GUARD_VALUE and EPSILON of transformers, the same in the extractors of Parakeet and Cohere.
NEMO_LOG_GUARD = 2.0**-24
NEMO_NORMALISATION_EPS = 1e-5


def nemo_mel_constants(extractor: Any) -> dict[str, Any]:
    """`NemoMelParameters` of a `ParakeetFeatureExtractor` or `CohereAsrFeatureExtractor`."""
    return {
        "n_fft": extractor.n_fft,
        "win_length": extractor.win_length,
        "hop_length": extractor.hop_length,
        "n_mels": extractor.feature_size,
        "preemphasis": extractor.preemphasis or 0.0,
        "log_guard": NEMO_LOG_GUARD,
        "eps": NEMO_NORMALISATION_EPS,
    }


def nemo_assets(extractor: Any, tokenizer: Any) -> dict[str, bytes]:
    """`host_assets` of a NeMo front end: its symmetric Hann window."""
    window = torch.hann_window(extractor.win_length, periodic=False).numpy()
    return host_assets(extractor.mel_filters.numpy(), window, tokenizer)


def host_assets(mel_filters: np.ndarray, window: np.ndarray, tokenizer: Any) -> dict[str, bytes]:
    """`features.safetensors` and `tokenizer.json`.

    Args:
        mel_filters: float32, as the model's front end takes them.
        window: of the analysis, float32.
        tokenizer: of transformers, with a backend of the `tokenizers` library.
    """
    features = {"mel_filters": np.ascontiguousarray(mel_filters), "window": window}
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    return {
        "features.safetensors": safetensors.numpy.save(features),
        "tokenizer.json": json.dumps(content, ensure_ascii=False).encode(),
    }
