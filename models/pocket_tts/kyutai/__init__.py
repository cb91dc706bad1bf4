"""PocketTTS as Kyutai publishes it, read without Kyutai's code."""
