"""Modalities: all that one kind of input needs, from raw value to features."""
