"""Cohere Transcribe: a FastConformer encoder with a Transformer decoder (`CohereAsrForConditionalGeneration`)."""

from pathlib import Path

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
            ModelOption(
                "audio_seconds", str, "15,35", "Fixed audio lengths of the encoder, in seconds, comma-separated."
            ),
            ModelOption(
                "decoder",
                str,
                "stateful",
                "Where the cache is kept: in the model (iOS18), by the caller, or nowhere; repeatable.",
                ("stateful", "external", "stateless"),
                repeatable=True,
            ),
            ModelOption(
                "max_tokens", int, 256, "Size of the decoder's cache in tokens, the 10 tokens of the prompt included."
            ),
            ModelOption(
                "head", str, "raw", "Output of the decoder: raw logits, or their log-softmax.", ("raw", "log-softmax")
            ),
        ),
        "infer": (
            ModelOption("language", str, "en", "Language of the audio, as code or English name."),
            ModelOption("max_tokens", int, 0, "Maximum tokens per audio window; 0 means as many as the cache holds."),
            ModelOption(
                "repetition_penalty", float, 1.0, "Divides the scores of tokens already produced; 1 turns it off."
            ),
            ModelOption("no_repeat_ngram", int, 0, "Forbids repeating a run of this many tokens; 0 turns it off."),
            ModelOption("eos_bias", float, 0.0, "Added to the score of the end token, for decoders that do not stop."),
            ModelOption("punctuation", bool, True, "Write capitals and punctuation, or plain words."),
        ),
        "compare": (
            ModelOption(
                "decoder", str, "all", "Form of the decoder to test.", ("all", "stateful", "external", "stateless")
            ),
            ModelOption("language", str, "all", "Only clips of this language, and clips without a language."),
            ModelOption(
                "resume",
                Path,
                None,
                "File that stores the texts of each clip, so that an interrupted run resumes.",
                first_run_only=True,
            ),
        ),
    },
)
