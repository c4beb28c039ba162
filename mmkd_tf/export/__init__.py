"""Export: SavedModel and TFLite files, each compared with Keras before it gets its name."""

from mmkd_tf.export.parity import Export
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import export_tflite

__all__ = ["Export", "export_saved_model", "export_tflite"]
