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
    options={
        "convert": (
            ModelOption("audio_seconds", str, "auto", "Fixed audio lengths in s; auto is 8,40,304 as far as needed."),
            ModelOption("sequence_lengths", str, "auto", "Fixed prompt lengths; auto is 512 to 8192 as far as needed."),
            ModelOption(
                "encoder",
                str,
                "split",
                "Convolution and transformer apart, in one package of one attention window, or both.",
                ("split", "monolithic", "both"),
            ),
            ModelOption(
                "audio_attention",
                str,
                "windowed",
                "What an audio frame sees: its window, as transformers has it, or all.",
                ("windowed", "full"),
            ),
        ),
        "infer": (
            ModelOption("text", str, "", "What is said."),
            ModelOption("text_file", str, "", "File with what is said, UTF-8; - is stdin."),
            ModelOption("language", str, "", "Code or name, e.g. en; decides how the text is split into words."),
        ),
    },
)
