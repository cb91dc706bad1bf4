"""The host loops behind the models: transducers, windows, times, text, output formats."""
