"""Parakeet TDT: a FastConformer encoder with a token-and-duration transducer (NVIDIA, `ParakeetForTDT`)."""

from toolkit.model import ModelInfo, ModelOption

MODEL = ModelInfo(
    id="parakeet-tdt",
    package=__name__,
    task="transcription",
    architecture="ParakeetForTDT",
    default_checkpoint="nvidia/parakeet-tdt-0.6b-v3",
    summary="speech recognition with token and word times, 25 European languages (v3)",
    components=("encoder", "prediction", "joint", "joint_decision", "decoder_step"),
    aliases=("parakeet", "parakeet-tdt-v3"),
    near_misses={
        "ParakeetForCTC": "Only the decoder with durations is covered: give a Parakeet TDT, or a fine-tune of one.",
        "ParakeetForRNNT": "Only the decoder with durations is covered: give a Parakeet TDT, or a fine-tune of one.",
        "ParakeetEncoder": "Give the whole model, with its decoder and joint network.",
    },
    options={
        "convert": (
            ModelOption(
                "audio_seconds", str, "5,15,30", "Fixed audio lengths of the encoder, in seconds, comma-separated."
            ),
        ),
        "infer": (
            ModelOption(
                "max_symbols",
                str,
                "0",
                "Maximum tokens per encoder frame, 10 by default in NeMo; `checkpoint` takes the checkpoint's own "
                "value, and 0 means unlimited, as in transformers.",
            ),
        ),
    },
)
