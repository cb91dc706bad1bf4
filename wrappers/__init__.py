"""Traceable torch modules: the models as Core ML will see them. Nothing here imports anything but torch."""
