"""The fusions by the names that settings have for them, in the teacher's size and the student's."""

from collections.abc import Callable

from mmkd_tf.models.cross_attention import CrossAttention
from mmkd_tf.models.fusion import Concatenation, Fusion
from mmkd_tf.models.multiplying import FiLM, LowRankTensor
from mmkd_tf.models.weighing import Attention, GatedMultimodalUnit, WeightedSum

# By name: the class, the teacher's arguments and the student's. The student's widths keep it 20
# times smaller than the teacher.
_FUSIONS: dict[str, tuple[Callable[..., Fusion], dict, dict]] = {
    "concatenation": (Concatenation, {}, {}),
    "weighted_sum": (WeightedSum, {"fused_dim": 128}, {"fused_dim": 32}),
    "weighted_sum_by_example": (
        WeightedSum,
        {"fused_dim": 128, "by_example": True},
        {"fused_dim": 32, "by_example": True},
    ),
    "attention": (Attention, {"fused_dim": 128}, {"fused_dim": 32}),
    "gated": (GatedMultimodalUnit, {"fused_dim": 128}, {"fused_dim": 32}),
    "low_rank_tensor": (LowRankTensor, {"fused_dim": 128, "rank": 4}, {"fused_dim": 32, "rank": 2}),
    "film": (FiLM, {"fused_dim": 128}, {"fused_dim": 32}),
    "cross_attention": (
        CrossAttention,
        {"fused_dim": 128, "num_heads": 4},
        {"fused_dim": 24, "num_heads": 2},
    ),
}
FUSION_NAMES = tuple(_FUSIONS)


def fusion_by_name(name: str, role: str) -> Fusion:
    """Makes one of `FUSION_NAMES` in the size of the `role`, `teacher` or `student`."""
    if name not in _FUSIONS or role not in ("teacher", "student"):
        raise ValueError(
            f"`name`, `role`: one of {', '.join(FUSION_NAMES)}; and teacher or student. Received: "
            f"name={name!r}, role={role!r}."
        )
    fusion, for_teacher, for_student = _FUSIONS[name]
    return fusion(**(for_teacher if role == "teacher" else for_student), name="fusion")
