"""PocketTTS: a causal Transformer, a flow head and a streaming codec (`PocketTTSForConditionalGeneration`)."""

from toolkit.model import ModelInfo, ModelOption

MODEL = ModelInfo(
    id="pocket-tts",
    package=__name__,
    task="synthesis",
    architecture="PocketTTSForConditionalGeneration",
    # Kyutai's ungated twin works without a token. It speaks in the voices that come with it; what clones a voice is
    # taken out of its weights, and in `kyutai/pocket-tts` for those who have accepted its terms.
    default_checkpoint="kyutai/pocket-tts-without-voice-cloning",
    summary="speech synthesis in a given voice, streamed",
    components=("text_embedding", "voice_projection", "backbone", "flow", "codec_decoder", "codec_encoder"),
    word_times=False,
    near_misses={
        "PocketTTSAudioTokenizerModel": "It is the codec: give it as --audio-tokenizer, and the model as --checkpoint.",
    },
    aliases=("pockettts",),
    options={
        "convert": (
            ModelOption(
                "flow_steps",
                str,
                "step,1",
                "Flow steps per call, comma-separated: numbers, or `step` for one velocity per call.",
            ),
            ModelOption(
                "cache_slots", int, 512, "Size of the cache: positions for voice, text and frames of one chunk."
            ),
            ModelOption(
                "state",
                str,
                "stateful",
                "Where the cache is kept: in the model (iOS18), or by the caller.",
                ("stateful", "external"),
            ),
            ModelOption("codec_encoder", bool, True, "Convert the codec's encoder, which clones voices."),
            ModelOption(
                "language",
                str,
                "",
                "Model of a repository in Kyutai's layout, e.g. french or german_24l (default: english).",
                names_bundle=True,
            ),
            ModelOption("audio_tokenizer", str, "", "Hub id or folder of the codec (default: the checkpoint's own)."),
        ),
        "infer": (
            ModelOption("text", str, "", "Text to speak."),
            ModelOption("text_file", str, "", "UTF-8 file with the text; - is stdin."),
            ModelOption(
                "voice",
                str,
                "",
                "Name of a voice in the bundle, a recording to clone, or a .safetensors voice file, Kyutai's too.",
            ),
            ModelOption("seed", int, 0, "Random seed; the same seed reproduces the same audio."),
            ModelOption(
                "temperature", float, None, "Variance of the noise; 0 means no noise (default: the checkpoint's)."
            ),
            ModelOption("flow_steps", int, None, "Flow steps per frame (default: the checkpoint's)."),
            ModelOption("eos_threshold", float, None, "Logit above which speech ends (default: the checkpoint's)."),
            ModelOption(
                "stream", bool, False, "Write audio while it is made: to a growing WAV file, or as raw PCM to stdout."
            ),
        ),
        "compare": (
            ModelOption("voice", str, "", "Voice, as in `infer` (default: the first voice of the bundle)."),
            ModelOption("seed", int, 0, "Random seed of the noise that both sides use."),
            ModelOption("flow_steps", str, "1,8", "Flow steps per frame, comma-separated."),
        ),
    },
)
