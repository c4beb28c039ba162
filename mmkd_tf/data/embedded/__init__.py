"""Datasets that come with the package, prepared by TensorFlow Datasets without a download."""
