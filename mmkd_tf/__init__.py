"""Knowledge distillation for multimodal fusion models on TensorFlow and Keras 3.

The public names, each with its line; the modules are imported when a name is first used, so that
`import mmkd_tf.edge` needs neither TensorFlow nor Keras.
"""

from importlib import import_module

_PUBLIC = {
    "Classifier": "mmkd_tf.edge.classifier",  # runs an exported file
    "Dataset": "mmkd_tf.data.dataset",  # training, validation and test examples
    "DatasetOptions": "mmkd_tf.data.options",  # how raw rows become a Dataset
    "Distiller": "mmkd_tf.distill.distiller",  # the Keras model whose fit distils
    "Hint": "mmkd_tf.distill.feature_terms",  # the term that imitates a layer's features
    "ModalityTerm": "mmkd_tf.distill.feature_terms",  # the same, encoder to encoder
    "Regressor": "mmkd_tf.edge.regressor",  # runs an exported file that gives numbers
    "Relation": "mmkd_tf.distill.feature_terms",  # the term that imitates relations in a batch
    "SoftTargets": "mmkd_tf.distill.terms",  # the term that imitates the teacher's probabilities
    "baseline_teacher": "mmkd_tf.models.builder",  # the teacher of the written method
    "build_student": "mmkd_tf.models.builder",  # the small model
    "build_teacher": "mmkd_tf.models.builder",  # the large model
    "cache_batches": "mmkd_tf.distill.soft_targets",  # the same for any tf.data batches
    "cache_soft_targets": "mmkd_tf.distill.soft_targets",  # what a teacher says, kept on disk
    "document_teacher": "mmkd_tf.models.builder",  # an older name of baseline_teacher
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
__all__ = list(_PUBLIC)  # noqa: PLE0604


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmkd_tf' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
