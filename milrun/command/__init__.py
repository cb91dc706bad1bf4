"""What `python -m milrun` does: looking into a run, comparing two artefacts, and measuring time."""
