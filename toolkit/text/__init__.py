"""Text: tokens to text and back, chat templates, and the words of a text that is aligned."""
