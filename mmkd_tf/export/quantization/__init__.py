"""Makes float32 TFLite models smaller; `quantize` one level, `select_level` the best of all."""

from mmkd_tf.export.quantization.levels import LevelResult, Selection, select_level
from mmkd_tf.export.quantization.quantizer import LEVELS, quantize

__all__ = ["LEVELS", "LevelResult", "Selection", "quantize", "select_level"]
