"""Results as files: transcripts, subtitles, TextGrids and audio, each written whole or not at all."""
