"""Models: encoders, fusion and head as Functional Keras models that give logits."""

from mmkd_tf.models.classifier import build_student, build_teacher, document_teacher
from mmkd_tf.models.fusion import (
    Attention,
    Concatenation,
    CrossAttention,
    FiLM,
    GatedMultimodalUnit,
    LowRankTensor,
    WeightedSum,
)
from mmkd_tf.models.fusion_weights import fusion_weights
from mmkd_tf.models.modality_dropout import ModalityDropout

__all__ = [
    "Attention",
    "Concatenation",
    "CrossAttention",
    "FiLM",
    "GatedMultimodalUnit",
    "LowRankTensor",
    "ModalityDropout",
    "WeightedSum",
    "build_student",
    "build_teacher",
    "document_teacher",
    "fusion_weights",
]
