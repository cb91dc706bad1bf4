"""PocketTTS: a causal Transformer, a flow head and a streaming codec (`PocketTTSForConditionalGeneration`)."""

from toolkit.model import ModelInfo, ModelOption

MODEL = ModelInfo(
    id="pocket-tts",
    package=__name__,
    task="synthesis",
    architecture="PocketTTSForConditionalGeneration",
    default_checkpoint="kyutai/pocket-tts",
    summary="speech synthesis in a voice that is given, streamed",
    components=("text_embedding", "voice_projection", "backbone", "flow", "codec_decoder", "codec_encoder"),
    word_times=False,
    aliases=("pockettts",),
    options={
        "convert": (
            ModelOption(
                "flow_steps",
                str,
                "step,1",
                "Flow steps that one call does: numbers, and `step` for a velocity a call; comma-separated.",
            ),
            ModelOption("cache_slots", int, 512, "Positions of the cache: voice, text and frames of a chunk."),
            ModelOption(
                "state",
                str,
                "stateful",
                "Who keeps the cache: the model (iOS18), or the caller.",
                ("stateful", "external"),
            ),
            ModelOption("codec_encoder", bool, True, "The codec's encoder, which voices are cloned with."),
            ModelOption("audio_tokenizer", str, "", "Hub id or folder of the codec, if not the checkpoint's own."),
        ),
        "infer": (
            ModelOption("text", str, "", "What to say."),
            ModelOption("text_file", str, "", "UTF-8 file with what to say; - is stdin."),
            ModelOption("voice", str, "", "Recording to clone, .safetensors, or name of a voice in the bundle."),
            ModelOption("seed", int, 0, "Of the noise: the same seed says the same in the same way."),
            ModelOption("temperature", float, None, "Variance of the noise; 0 is none.  [default: the checkpoint's]"),
            ModelOption("flow_steps", int, None, "Flow steps a frame.  [default: the checkpoint's]"),
            ModelOption("eos_threshold", float, None, "Logit that ends a text.  [default: the checkpoint's]"),
            ModelOption("stream", bool, False, "Write audio as it is made: a growing WAV, or PCM on stdout."),
        ),
        "compare": (
            ModelOption("voice", str, "", "As `infer` takes it; the first of the bundle's."),
            ModelOption("seed", int, 0, "Of the noise that both sides are given."),
            ModelOption("flow_steps", str, "1,8", "Flow steps a frame; comma-separated."),
        ),
    },
)
