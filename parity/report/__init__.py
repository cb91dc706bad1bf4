"""The forms of a report: terminal, JSON, Markdown and HTML."""
