"""Knowledge distillation for multimodal fusion models on TensorFlow and Keras 3.

The public names, each with its line; the modules are imported when a name is first used, so that
`import mmkd_tf.edge` needs neither TensorFlow nor Keras. `keras.models.load_model` knows the
classes of saved models from `import mmkd_tf` on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmkd_tf.serialization import register

if TYPE_CHECKING:
    from mmkd_tf.data.batches import training_batches as training_batches
    from mmkd_tf.data.dataset import Dataset as Dataset
    from mmkd_tf.data.dataset import for_student as for_student
    from mmkd_tf.data.folders import from_folder as from_folder
    from mmkd_tf.data.options import DatasetOptions as DatasetOptions
    from mmkd_tf.data.records import from_hugging_face as from_hugging_face
    from mmkd_tf.data.records import from_tf_data as from_tf_data
    from mmkd_tf.data.table import from_table as from_table
    from mmkd_tf.data.tfds import from_tfds as from_tfds
    from mmkd_tf.distill.distiller import Distiller as Distiller
    from mmkd_tf.distill.feature_terms import Hint as Hint
    from mmkd_tf.distill.feature_terms import ModalityTerm as ModalityTerm
    from mmkd_tf.distill.feature_terms import Relation as Relation
    from mmkd_tf.distill.mutual import learn_mutually as learn_mutually
    from mmkd_tf.distill.soft_targets import cache_batches as cache_batches
    from mmkd_tf.distill.soft_targets import cache_soft_targets as cache_soft_targets
    from mmkd_tf.distill.terms import SoftTargets as SoftTargets
    from mmkd_tf.edge.classifier import Classifier as Classifier
    from mmkd_tf.edge.encoder import Encoder as Encoder
    from mmkd_tf.edge.encoder import Retriever as Retriever
    from mmkd_tf.edge.regressor import Regressor as Regressor
    from mmkd_tf.export.saved_model import export_saved_model as export_saved_model
    from mmkd_tf.export.tflite import export_tflite as export_tflite
    from mmkd_tf.losses.logits import soft_target_loss as soft_target_loss
    from mmkd_tf.modalities import register_modality as register_modality
    from mmkd_tf.models.builder import baseline_teacher as baseline_teacher
    from mmkd_tf.models.builder import build_student as build_student
    from mmkd_tf.models.builder import build_teacher as build_teacher
    from mmkd_tf.tasks import register_task as register_task

_PUBLIC = {
    "Classifier": "mmkd_tf.edge.classifier",  # runs an exported file
    "Dataset": "mmkd_tf.data.dataset",  # training, validation and test examples
    "DatasetOptions": "mmkd_tf.data.options",  # how raw rows become a Dataset
    "Distiller": "mmkd_tf.distill.distiller",  # the Keras model whose fit distils
    "Encoder": "mmkd_tf.edge.encoder",  # runs an exported file that gives a point of an input
    "Hint": "mmkd_tf.distill.feature_terms",  # the term that imitates a layer's features
    "ModalityTerm": "mmkd_tf.distill.feature_terms",  # the same, encoder to encoder
    "Regressor": "mmkd_tf.edge.regressor",  # runs an exported file that gives numbers
    "Relation": "mmkd_tf.distill.feature_terms",  # the term that imitates relations in a batch
    "Retriever": "mmkd_tf.edge.encoder",  # finds what belongs to a picture or a text
    "SoftTargets": "mmkd_tf.distill.terms",  # the term that imitates the teacher's probabilities
    "baseline_teacher": "mmkd_tf.models.builder",  # the teacher of the written method
    "build_student": "mmkd_tf.models.builder",  # the small model
    "build_teacher": "mmkd_tf.models.builder",  # the large model
    "cache_batches": "mmkd_tf.distill.soft_targets",  # the same for any tf.data batches
    "cache_soft_targets": "mmkd_tf.distill.soft_targets",  # what a teacher says, kept on disk
    "export_saved_model": "mmkd_tf.export.saved_model",  # raw pictures and texts -> class names
    "export_tflite": "mmkd_tf.export.tflite",  # one file for a phone
    "for_student": "mmkd_tf.data.dataset",  # smaller inputs for the student than its teachers'
    "from_folder": "mmkd_tf.data.folders",  # a folder of pictures for each class -> Dataset
    "from_hugging_face": "mmkd_tf.data.records",  # an object of the library datasets -> Dataset
    "from_table": "mmkd_tf.data.table",  # a CSV, a Parquet file or a DataFrame -> Dataset
    "from_tf_data": "mmkd_tf.data.records",  # tf.data datasets -> Dataset
    "from_tfds": "mmkd_tf.data.tfds",  # a TensorFlow Datasets name -> Dataset
    "learn_mutually": "mmkd_tf.distill.mutual",  # students that teach each other
    "register_modality": "mmkd_tf.modalities",  # a kind of input of your own
    "register_task": "mmkd_tf.tasks",  # a task of your own
    "soft_target_loss": "mmkd_tf.losses.logits",  # the loss of distillation
    "training_batches": "mmkd_tf.data.batches",  # shuffled, augmented batches
}
__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604
# Older names, for code that was written with them.
_OLDER = {"document_teacher": "mmkd_tf.models.builder"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    module = _PUBLIC.get(name) or _OLDER.get(name)
    if module is None:
        raise AttributeError(f"module 'mmkd_tf' has no attribute '{name}'")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, "__version__"})


def _version() -> str:
    """That of the distribution which is installed: the whole one, or the edge alone."""
    from importlib.metadata import PackageNotFoundError, version

    for distribution in ("mmkd-tf", "mmkd-tf-edge"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"  # used from a checkout


register()
