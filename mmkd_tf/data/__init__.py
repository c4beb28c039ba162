"""Data: from what people have to a Dataset and its batches."""

from mmkd_tf.data.batches import batches, training_batches
from mmkd_tf.data.dataset import Dataset, Examples, for_student
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.table import from_table
from mmkd_tf.data.tfds import from_tfds

__all__ = [
    "Dataset",
    "DatasetOptions",
    "Examples",
    "batches",
    "for_student",
    "from_table",
    "from_tfds",
    "training_batches",
]
