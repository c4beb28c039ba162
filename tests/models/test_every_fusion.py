"""One battery for all fusions: what each must do, whatever it computes."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import build_student, fusion, fusion_weights
from mmkd_tf.models.fusion import (
    Attention,
    Concatenation,
    CrossAttention,
    FiLM,
    GatedMultimodalUnit,
    LowRankTensor,
    WeightedSum,
)
from mmkd_tf.models.seeding import seeded

CASES = {
    "concatenation": Concatenation,
    "weighted sum": lambda **kwargs: WeightedSum(8, seed=0, **kwargs),
    "weighted sum by example": lambda **kwargs: WeightedSum(8, by_example=True, seed=0, **kwargs),
    "attention": lambda **kwargs: Attention(8, seed=0, **kwargs),
    "gated": lambda **kwargs: GatedMultimodalUnit(8, seed=0, **kwargs),
    "low rank tensor": lambda **kwargs: LowRankTensor(8, rank=2, seed=0, **kwargs),
    "film": lambda **kwargs: FiLM(8, conditioning="text", seed=0, **kwargs),
    "cross attention": lambda **kwargs: CrossAttention(8, num_heads=2, seed=0, **kwargs),
    "cross attention, tokens": lambda **kwargs: CrossAttention(8, num_heads=2, seed=0, **kwargs),
}
DIMS = {"image": 5, "text": 4, "audio": 3, "table": 5}
TOKENS = {"image": 4, "text": 3}
PATTERNS = [(1, 1), (1, 0), (0, 1), (0, 0), (1, 1)]

every_fusion = pytest.mark.parametrize("case", CASES)


def drawn(case, patterns=PATTERNS, seed=0):
    """Features and presence; rows of `patterns` say which modalities an example has."""
    rng, batch = np.random.default_rng(seed), len(patterns)
    names = list(DIMS)[: len(patterns[0])]
    there = np.array(patterns, "float32")
    features, presence = {}, {}
    for index, name in enumerate(names):
        presence[name] = there[:, index : index + 1]
        shape = [batch, DIMS[name]]
        if "tokens" in case and name in TOKENS:
            shape.insert(1, TOKENS[name])
            kept = rng.integers(0, 2, [batch, TOKENS[name]])
            kept[:, 0] = 1
            presence[name] = (presence[name] * kept).astype("float32")
        features[name] = rng.normal(size=shape).astype("float32")
    return features, presence


def built(case, features, presence, **kwargs):
    """The fusion with weights that all show in what it gives, biases too."""
    layer = CASES[case](**kwargs)
    layer(features, presence)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    return layer


def changed(features, presence):
    """Other features wherever nothing is there."""
    absent = {
        n: presence[n].reshape(*presence[n].shape, 1)[:, : v.shape[1]] == 0
        if v.ndim == 3
        else presence[n] == 0
        for n, v in features.items()
    }
    return {n: np.where(absent[n], 50 - 100 * v, v) for n, v in features.items()}


def value_and_gradients(layer, features, presence):
    with tf.GradientTape() as tape:
        tape.watch(features)
        fused = layer(features, presence)
        loss = tf.reduce_sum(tf.cast(fused, "float32") ** 2)
    return fused, *tape.gradient(loss, [*layer.trainable_variables, *features.values()])


def as_tensors(features, presence):
    return [{n: tf.constant(v) for n, v in values.items()} for values in (features, presence)]


def test_every_public_fusion_has_a_case():
    public = {getattr(fusion, name) for name in fusion.__all__} - {fusion.Fusion, fusion.Presence}
    assert {type(make()) for make in CASES.values()} == public


@every_fusion
@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_is_absent_is_left_out_exactly(case, fused_alone, data):
    count = data.draw(st.integers(2, 4), label="modalities")
    patterns = data.draw(
        st.lists(st.tuples(*[st.integers(0, 1)] * count), min_size=4, max_size=4), label="there"
    )
    features, presence = drawn(case, patterns, seed=data.draw(st.integers(0, 99), label="seed"))
    layer = built(case, features, presence)
    fused = np.asarray(layer(features, presence))
    np.testing.assert_array_equal(fused, layer(changed(features, presence), presence))
    names = [name for name, is_there in zip(features, patterns[0], strict=True) if is_there]
    if not names:
        assert not fused[0].any()
        return
    first = [{n: v[:1] for n, v in values.items()} for values in (features, presence)]
    alone = fused_alone(layer, *first, names)
    if isinstance(layer, Concatenation):
        width = sum(DIMS[name] for name in names)
        alone, fused = alone[:, :width], fused[:, np.repeat(*_present_columns(features, names))]
    np.testing.assert_allclose(fused[:1], alone, rtol=1e-4, atol=1e-5)
