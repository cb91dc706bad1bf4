"""Qwen3-ForcedAligner: an audio encoder and a Qwen3 decoder over time markers (`Qwen3ASRForTokenClassification`)."""

from toolkit.model import ModelInfo, ModelOption

MODEL = ModelInfo(
    id="qwen3-forced-aligner",
    package=__name__,
    task="alignment",
    architecture="Qwen3ASRForTokenClassification",
    default_checkpoint="Qwen/Qwen3-ForcedAligner-0.6B-hf",
    summary="the time of every word of a known text, 11 languages",
    components=("audio_conv", "audio_transformer", "embedding", "decoder_prefill", "head"),
    aliases=("qwen3-aligner", "forced-aligner"),
    near_misses={
        "Qwen3ASRForConditionalGeneration": "It is the recogniser: give Qwen/Qwen3-ForcedAligner-0.6B or its -hf twin.",
    },
    options={
        "convert": (
            ModelOption(
                "audio_seconds", str, "auto", "Fixed audio lengths, in seconds; auto means 8,40,304 as far as needed."
            ),
            ModelOption(
                "sequence_lengths",
                str,
                "auto",
                "Fixed prompt lengths, in tokens; auto means 512 to 8192 as far as needed.",
            ),
            ModelOption(
                "encoder",
                str,
                "split",
                "Audio encoder as two packages, as one package for one attention window, or both.",
                ("split", "monolithic", "both"),
            ),
            ModelOption(
                "audio_attention",
                str,
                "windowed",
                "Attention of an audio frame: its window, as in transformers, or the whole file.",
                ("windowed", "full"),
            ),
        ),
        "infer": (
            ModelOption("text", str, "", "Text of the recording."),
            ModelOption("text_file", str, "", "UTF-8 file with the text; - is stdin."),
            ModelOption(
                "language",
                str,
                "",
                "Language of the text, as code or English name; it decides how the text is split into words.",
            ),
        ),
    },
)
