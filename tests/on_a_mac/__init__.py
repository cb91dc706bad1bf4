"""What only a Mac can answer: `uv run python -m tests.on_a_mac` measures it, and writes one folder to send back."""
