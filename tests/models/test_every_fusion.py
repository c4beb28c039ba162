"""One battery for all fusions: what each must do, whatever it computes."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_tf import models
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.export.tflite import TFLiteOptions, export_tflite
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import (
    Attention,
    Concatenation,
    CrossAttention,
    FiLM,
    GatedMultimodalUnit,
    LowRankTensor,
    WeightedSum,
    build_student,
    fusion_weights,
)
from mmkd_tf.models.fusion import Fusion
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
# In a whole student, what a fusion is given depends on its encoders alone.
every_students = pytest.mark.parametrize("case", [c for c in CASES if "tokens" not in c])


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
    public = {getattr(models, name) for name in models.__all__}
    public = {each for each in public if isinstance(each, type) and issubclass(each, Fusion)}
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
    np.testing.assert_allclose(fused[:1], fused_alone(layer, *first, names), rtol=1e-4, atol=1e-5)


@every_fusion
def test_what_is_there_matters(case):
    features, presence = drawn(case)
    layer = built(case, features, presence)
    fused = np.asarray(layer(features, presence))
    for name in features:
        other = np.asarray(layer({**features, name: -features[name]}, presence))
        there = presence[name][:, 0] == 1
        assert (np.abs(fused - other).max(axis=1) > 1e-3).tolist() == there.tolist()


@every_fusion
def test_a_single_modality_works(case):
    features, presence = drawn(case, [(1,), (0,), (1,)])
    layer = built(case, features, presence)
    fused = np.asarray(layer(features, presence))
    assert fused[0].any() and not fused[1].any()
    if layer.has_weights:
        np.testing.assert_allclose(
            layer.modality_weights(features, presence), [[1], [0], [1]], atol=1e-6
        )


@every_fusion
def test_weights_of_modalities_sum_to_1_or_are_refused(case):
    features, presence = drawn(case)
    layer = built(case, features, presence)
    if not layer.has_weights:
        with pytest.raises(NotImplementedError, match="no weight for a whole modality"):
            layer.modality_weights(features, presence)
        return
    weights = np.asarray(layer.modality_weights(features, presence))
    assert weights.dtype == "float32"
    np.testing.assert_allclose(weights.sum(axis=1), [1, 1, 1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(weights[1:4], [[1, 0], [0, 1], [0, 0]], atol=1e-6)
    assert (weights[0] > 0.001).all()
    # The order is that of the names, not that of the dicts.
    turned = [dict(reversed(values.items())) for values in (features, presence)]
    np.testing.assert_array_equal(layer.modality_weights(*turned), weights)


@every_fusion
def test_graph_of_unknown_batch_size_and_xla_equal_eager(case):
    inputs = as_tensors(*drawn(case))
    layer = built(case, *inputs)
    signature = [
        {n: tf.TensorSpec([None, *v.shape[1:]], v.dtype) for n, v in values.items()}
        for values in inputs
    ]
    run = lambda *x: value_and_gradients(layer, *x)  # noqa: E731
    graph, xla = tf.function(run, input_signature=signature), tf.function(run, jit_compile=True)
    fewer = [{n: v[:2] for n, v in values.items()} for values in inputs]
    for function, given_inputs in ((graph, inputs), (graph, fewer), (xla, inputs)):
        expected = run(*given_inputs)
        # A shift of all scores alike has no gradient but rounding, so the scale is that of all.
        scale = max(np.abs(wanted).max() for wanted in expected)
        for got, wanted in zip(function(*given_inputs), expected, strict=True):
            assert np.isfinite(got).all()
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5 * scale + 1e-6)


@every_fusion
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_finite_and_close(case, dtype):
    inputs = as_tensors(*drawn(case))
    layer = built(case, *inputs, dtype=dtype)
    fused, *gradients = value_and_gradients(layer, *inputs)
    assert fused.dtype == dtype.removeprefix("mixed_")
    for gradient in gradients:
        assert np.isfinite(tf.cast(gradient, "float32")).all()
    expected = np.asarray(built(case, *inputs)(*inputs))
    bound = 0.1 * np.abs(expected).max()
    np.testing.assert_allclose(tf.cast(fused, "float32"), expected, atol=bound)
    assert not np.asarray(tf.cast(fused, "float32"))[3].any()
    if layer.has_weights:
        weights = np.asarray(layer.modality_weights(*inputs))
        np.testing.assert_allclose(weights.sum(axis=1), [1, 1, 1, 0, 1], atol=1e-3)


@every_fusion
def test_large_scores_of_what_is_absent_drown_nothing(case):
    features, presence = drawn(case, [(1, 0), (1, 1)])
    layer = built(case, features, presence)
    fused = np.asarray(layer(features, presence))
    features["text"][0] *= 1e4
    np.testing.assert_array_equal(layer(features, presence)[0], fused[0])


@every_fusion
def test_the_seed_says_what_the_weights_are(case):
    features, presence = drawn(case)
    a, b = CASES[case](), CASES[case]()
    np.testing.assert_array_equal(a(features, presence), b(features, presence))
    assert type(a).from_config(a.get_config()).get_config() == a.get_config()


@every_fusion
def test_refuses_presence_of_other_modalities_and_tokens_it_can_not_take(case):
    features, presence = drawn(case)
    with pytest.raises(ValueError, match="`presence`: an entry for each modality"):
        CASES[case]()(features, {"image": presence["image"]})
    features = {**features, "image": np.zeros([5, 2, 2, 2], "float32")}
    with pytest.raises(ValueError, match="`features`:.* with known sizes"):
        CASES[case]()(features, presence)


WORDS = ["<pad>", "<unk>", *map(str, range(20))]
TASK = SimpleNamespace(
    modalities={"image": Image(height=16), "text": Text(vocabulary=WORDS, length=6)}, num_classes=3
)


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(2)
    text = rng.integers(1, len(WORDS), [20, 6]).astype("int32")
    text[np.arange(6) >= rng.integers(1, 7, [20, 1])] = 0
    image = rng.integers(1, 256, [20, 16, 16, 3]).astype("uint8")
    image[3], text[4] = 0, 0
    return {"image": image, "text": text}


def student(case):
    model = seeded(build_student(TASK, fusion=CASES[case](name="fusion")), seed=1)
    rng = np.random.default_rng(1)
    fused = model.get_layer("fusion")
    fused.set_weights([rng.normal(0, 0.5, w.shape) for w in fused.get_weights()])
    return model


@every_students
def test_a_model_with_it_is_seeded_saved_and_loaded(case, examples, tmp_path):
    model = student(case)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(examples), model(examples))
    assert len({model(part)[0].numpy().tobytes() for part in (examples, _twice(examples))}) == 1
    weights = fusion_weights(loaded, examples)
    if not model.get_layer("fusion").has_weights:
        assert weights is None
        return
    assert list(weights) == ["image", "text"]
    np.testing.assert_allclose(weights["image"] + weights["text"], np.ones(20), atol=1e-6)
    assert weights["image"][3] == 0 and weights["text"][4] == 0


def _twice(examples):
    return {name: np.concatenate([values, values]) for name, values in examples.items()}


@pytest.mark.slow
@every_students
@pytest.mark.parametrize("batch_size", [1, None])
def test_exported_as_tflite_it_equals_keras(case, batch_size, examples, tmp_path):
    result = export_tflite(
        student(case),
        tmp_path / "student.tflite",
        class_names=["a", "b", "c"],
        examples=examples,
        options=TFLiteOptions(batch_size=batch_size),
    )
    assert result.max_abs_logit_difference <= 1e-4 and result.top1_agreement == 1


@pytest.mark.slow
@every_students
def test_exported_as_saved_model_it_equals_keras(case, examples, tmp_path):
    result = export_saved_model(
        student(case),
        tmp_path / "student",
        class_names=["a", "b", "c"],
        modalities=TASK.modalities,
        examples=examples,
    )
    assert result.max_abs_logit_difference <= 1e-4 and result.top1_agreement == 1
