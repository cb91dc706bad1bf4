"""The proof: the reference, and what is compared with it."""
