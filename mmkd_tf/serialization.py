"""Tells Keras where this package's classes are, without importing Keras or them.

So `import mmkd_tf` stays quick, and `keras.models.load_model` finds what a saved model is made of.
"""

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder

PACKAGE = "mmkd_tf"
# By module, the names of its classes that are registered with Keras.
CLASSES = {
    "mmkd_tf.backbones.minilm": ("BertEncoder",),
    "mmkd_tf.backbones.use_multilingual": ("SentenceEncoder",),
    "mmkd_tf.data.beside": ("Unpacked",),
    "mmkd_tf.distill.distiller": ("Distiller",),
    "mmkd_tf.distill.feature_terms": ("Hint", "ModalityTerm", "Projection", "Relation"),
    "mmkd_tf.distill.quantization_aware": ("FakeQuantized",),
    "mmkd_tf.distill.schedules": ("Constant", "Cosine", "Linear", "WarmUp"),
    "mmkd_tf.distill.soft_target_files": ("SoftTargetCache",),
    "mmkd_tf.distill.terms": ("SoftTargets",),
    "mmkd_tf.modalities.audio": ("LogMel",),
    "mmkd_tf.modalities.image_set": (
        "OnlyThere",
        "PicturesApart",
        "PicturesThere",
        "PicturesTogether",
        "TokensOfSet",
    ),
    "mmkd_tf.modalities.tokens": ("Pooling", "SummaryAndTokens", "WordMask", "WordPresence"),
    "mmkd_tf.models.cross_attention": ("CrossAttention",),
    "mmkd_tf.models.cross_fitted": ("Temperature",),
    "mmkd_tf.models.fusion": ("Concatenation", "Presence"),
    "mmkd_tf.models.modality_dropout": ("ModalityDropout",),
    "mmkd_tf.models.multiplying": ("FiLM", "LowRankTensor"),
    "mmkd_tf.models.two_tower": ("LogitScale", "UnitLength"),
    "mmkd_tf.models.weighing": ("Attention", "GatedMultimodalUnit", "WeightedSum"),
    "mmkd_tf.tasks.identities": ("AngularMargin", "BatchRankOne"),
    "mmkd_tf.tasks.regression": ("ScaledSquaredError",),
    "mmkd_tf.tasks.retrieval": ("BatchRecall", "MatchingLoss"),
}


def register() -> None:
    """Gives Keras a stand-in for each class, now, or as soon as Keras is imported."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


class _StandIn:
    """Imports a class when Keras makes an object of it; the class then registers itself."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def from_config(self, config: dict):
        return getattr(importlib.import_module(self.module), self.name).from_config(config)


def _register() -> None:
    registered = sys.modules["keras"].saving.get_custom_objects()
    for module, names in CLASSES.items():
        for name in names:
            registered.setdefault(f"{PACKAGE}>{name}", _StandIn(module, name))


class _AfterKeras(MetaPathFinder):
    """Lets the import of Keras end with `_register`."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _register()

            spec.loader.exec_module = execute_and_register
        return spec
