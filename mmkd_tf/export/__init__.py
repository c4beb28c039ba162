"""Export: SavedModel and TFLite files, each compared with Keras before it gets its name."""

from mmkd_tf.export.parity import Export
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite

__all__ = ["Export", "TFLiteOptions", "export_saved_model", "export_tflite"]
