"""Models: encoders, fusion and head as Functional Keras models that give logits."""

import mmkd_tf.modalities.tokens  # noqa: F401  Keras must know its layers to load a file of ours.
from mmkd_tf.models.builder import (
    baseline_teacher,
    build_student,
    build_teacher,
    document_teacher,
)
from mmkd_tf.models.cross_attention import CrossAttention
from mmkd_tf.models.fusion import Concatenation
from mmkd_tf.models.fusion_weights import fusion_weights
from mmkd_tf.models.modality_dropout import ModalityDropout
from mmkd_tf.models.multiplying import FiLM, LowRankTensor
from mmkd_tf.models.named_fusions import FUSION_NAMES, fusion_by_name
from mmkd_tf.models.weighing import Attention, GatedMultimodalUnit, WeightedSum

__all__ = [
    "Attention",
    "Concatenation",
    "CrossAttention",
    "FUSION_NAMES",
    "FiLM",
    "GatedMultimodalUnit",
    "LowRankTensor",
    "ModalityDropout",
    "WeightedSum",
    "baseline_teacher",
    "build_student",
    "build_teacher",
    "document_teacher",
    "fusion_by_name",
    "fusion_weights",
]
