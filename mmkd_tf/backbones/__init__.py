"""Backbones: pretrained encoders by name, with the weights' sources, checksums and licences.

Listing them needs neither TensorFlow nor Keras; loading one does.
"""

from mmkd_tf.backbones.backbone import BACKBONES, Backbone, find_backbone, register_backbone

__all__ = ["BACKBONES", "Backbone", "backbone_of", "find_backbone", "register_backbone"]


def __getattr__(name: str):
    # These import Keras.
    if name == "backbone_of":
        from mmkd_tf.backbones.keras_models import backbone_of

        return backbone_of
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
