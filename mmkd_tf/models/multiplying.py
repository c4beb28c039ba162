"""Fusions in which modalities multiply each other: low-rank tensor fusion and FiLM."""

import keras
from keras import ops

from mmkd_tf.models.fusion import Fusion, check, dense, projections, side_by_side


@keras.saving.register_keras_serializable("mmkd_tf")
class LowRankTensor(Fusion):
    """Multiplies projected features, which is an outer product of all of them at low rank.

    `fused = mean_r prod_m factor_mr [features_m, 1]`: the linear image of the outer product of
    the features, each with a 1 appended, by a weight tensor of the given rank. An absent
    modality's factor is left out of the product. The mean stands for the published sum, the
    number `1 / rank` being part of the factors. The part of a factor that meets the appended 1
    begins at 1, so that the product begins as `1` plus the sum of the projected features. A
    modality has no weight of its own: a product has no shares.

    Args:
        fused_dim: Width of the result.
        rank: Number of products that are added.
        seed: Seed of the initial weights.

    References:
        Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency: Efficient Low-rank Multimodal Fusion
        with Modality-Specific Factors, 2018.
    """

    def __init__(self, fused_dim: int = 128, *, rank: int = 4, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.keep(fused_dim=fused_dim, rank=rank, seed=seed)

    def build(self, features_shape, presence_shape):
        check(self, features_shape, presence_shape)
        self.factors = {}
        for index, name in enumerate(sorted(features_shape)):
            units, shape = self.rank * self.fused_dim, features_shape[name]
            # A dense layer's bias is what meets the appended 1.
            named = {"bias_initializer": "ones", "name": f"{name}_factor"}
            self.factors[name] = dense(self, units, index, shape, **named)

    def call(self, features, presence):
        product = 1
        for name in sorted(features):
            there = presence[name]
            product = product * (self.factors[name](features[name]) * there + (1 - there))
        fused = ops.mean(ops.reshape(product, (-1, self.rank, self.fused_dim)), axis=1)
        return fused * ops.max(side_by_side(presence), axis=-1, keepdims=True)


@keras.saving.register_keras_serializable("mmkd_tf")
class FiLM(Fusion):
    """Lets one modality scale and shift the projected features of the others.

    `fused = sum_m (1 + scale_m(features_c)) * project_m(features_m) + project_c(features_c)` over
    the modalities `m` other than the conditioning one, `c`; `project_c` is the shift. Where `c`
    is absent, the others are added as they are; where they are absent, the shift remains, so that
    `c` alone still gives an answer. A modality has no weight of its own: a scale is no share.

    Args:
        fused_dim: Width of the result.
        conditioning: Name of the modality that scales and shifts; the last in alphabetical order
            by default. A single modality is projected, whatever its name.
        seed: Seed of the initial weights.

    References:
        Perez, Strub, de Vries, Dumoulin, Courville: FiLM: Visual Reasoning with a General
        Conditioning Layer, 2018 (scales about 1, section 7.2).
    """

    def __init__(
        self,
        fused_dim: int = 128,
        *,
        conditioning: str | None = None,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.keep(fused_dim=fused_dim, conditioning=conditioning, seed=seed)

    def build(self, features_shape, presence_shape):
        check(self, features_shape, presence_shape)
        names = sorted(features_shape)
        by = names[-1] if self.conditioning is None else self.conditioning
        if by not in names and len(names) > 1:
            raise ValueError(
                f"`conditioning`: one of the modalities {names}. "
                f"Received: conditioning={self.conditioning!r}."
            )
        self.projections = projections(self, features_shape)
        self.scales = {}
        for index, name in enumerate(names, len(names)):
            if name != by and by in names:
                shape, scale = features_shape[by], f"{name}_scale"
                self.scales[name] = dense(self, self.fused_dim, index, shape, name=scale)

    def call(self, features, presence):
        fused = 0
        for name in sorted(features):
            part = self.projections[name](features[name]) * presence[name]
            if name in self.scales:
                by = next(other for other in features if other not in self.scales)
                part = part * (1 + self.scales[name](features[by]) * presence[by])
            fused = fused + part
        return fused
