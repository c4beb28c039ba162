"""The fusions by the names that settings have for them, in the teacher's size and the student's."""

from mmkd_tf.models.fusion import (
    Attention,
    Concatenation,
    CrossAttention,
    FiLM,
    Fusion,
    GatedMultimodalUnit,
    LowRankTensor,
    WeightedSum,
)

# By name: the class, the teacher's arguments and the student's. The student's widths keep it 20
# times smaller than the teacher.
_FUSIONS = {
    "concatenation": (Concatenation, {}, {}),
    "weighted_sum": (WeightedSum, {"fused_dim": 128}, {"fused_dim": 32}),
    "weighted_sum_by_example": (
        WeightedSum,
        {"fused_dim": 128, "by_example": True},
        {"fused_dim": 32, "by_example": True},
    ),
    "attention": (Attention, {"fused_dim": 128}, {"fused_dim": 32}),
    "gated": (GatedMultimodalUnit, {"fused_dim": 128}, {"fused_dim": 32}),
    "low_rank_tensor": (
        LowRankTensor,
        {"fused_dim": 128, "rank": 4},
        {"fused_dim": 32, "rank": 2},
    ),
    "film": (FiLM, {"fused_dim": 128}, {"fused_dim": 32}),
    "cross_attention": (
        CrossAttention,
        {"fused_dim": 128, "num_heads": 4},
        {"fused_dim": 24, "num_heads": 2},
    ),
}
FUSION_NAMES = tuple(_FUSIONS)


def teacher_fusion(name: str) -> Fusion:
    """Makes a fusion in the teacher's size.

    Args:
        name: One of `FUSION_NAMES`.
    """
    fusion, arguments, _ = _FUSIONS[name]
    return fusion(**arguments, name="fusion")


def student_fusion(name: str) -> Fusion:
    """Makes a fusion in the student's size.

    Args:
        name: One of `FUSION_NAMES`.
    """
    fusion, _, arguments = _FUSIONS[name]
    return fusion(**arguments, name="fusion")
