"""Cohere Transcribe: a FastConformer encoder with a Transformer decoder (`CohereAsrForConditionalGeneration`)."""

from toolkit.model import ModelInfo, ModelOption

MODEL = ModelInfo(
    id="cohere-transcribe",
    package=__name__,
    task="transcription",
    architecture="CohereAsrForConditionalGeneration",
    default_checkpoint="CohereLabs/cohere-transcribe-03-2026",
    summary="speech recognition in 14 languages, with punctuation",
    components=("encoder", "cross_kv", "decoder_stateful"),
    word_times=False,
    demo_clips=(".", "zh"),
    aliases=("cohere", "cohere-asr"),
    options={
        "convert": (
            ModelOption("audio_seconds", str, "15,35", "Fixed audio lengths of the encoder, in seconds."),
            ModelOption(
                "decoder",
                str,
                "stateful",
                "Who keeps the cache: the model (iOS18), the caller, or nobody; repeatable.",
                ("stateful", "external", "stateless"),
                repeatable=True,
            ),
            ModelOption("max_tokens", int, 256, "Tokens that the decoder's cache holds, 10 of the prompt included."),
            ModelOption("head", str, "raw", "What the decoder yields.", ("raw", "log-softmax")),
        ),
        "infer": (
            ModelOption("language", str, "en", "Code or name, e.g. en; what is spoken."),
            ModelOption("max_tokens", int, 0, "Most tokens a window of audio; 0 is what the cache holds."),
            ModelOption("repetition_penalty", float, 1.0, "Divides the scores of tokens that were said; 1 is off."),
            ModelOption("no_repeat_ngram", int, 0, "No run of this many tokens comes twice; 0 is off."),
            ModelOption("eos_bias", float, 0.0, "Added to the score of the end, for decoders that never stop."),
            ModelOption("punctuation", bool, True, "Capitals and punctuation, or plain words."),
        ),
        "compare": (
            ModelOption(
                "decoder", str, "all", "Which form of the decoder.", ("all", "stateful", "external", "stateless")
            ),
            ModelOption("language", str, "all", "Only clips of this language, and those that do not say theirs."),
            ModelOption("resume", str, "", "File that keeps each clip's texts; a run that broke off goes on."),
        ),
    },
)
