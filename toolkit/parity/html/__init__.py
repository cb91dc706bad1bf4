"""The report as one HTML page: its tables, figures, plots, pictures, sound and style."""
