"""The further forms in which checkpoints of PocketTTS are published."""

from models.pocket_tts.kyutai.layout import KyutaiLayout

LAYOUTS = (KyutaiLayout(),)
