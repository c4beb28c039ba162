from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import Concatenation
from mmkd_tf.models.builder import build_student, build_teacher
from mmkd_tf.models.seeding import seeded
from mmkd_tf.models.two_tower import LogitScale, tower
from mmkd_tf.tasks.retrieval import MatchingLoss

BUILDERS = [build_teacher, build_student]


def data(num_words=50, *names):
    words = ["<pad>", "<unk>", *map(str, range(num_words))]
    modalities = {"image": Image(height=16), "text": Text(vocabulary=words, length=6)}
    modalities = {name: modalities[name] for name in names or modalities}
    return SimpleNamespace(modalities=modalities, task="retrieval")


def inputs(batch=3):
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(1, 255, [batch, 16, 16, 3], np.uint8),
        "text": rng.integers(1, 52, [batch, 6]).astype("int32"),
    }


def halves(pairs):
    return np.split(np.asarray(pairs), 2, axis=1)


@pytest.mark.parametrize("num_words", [50, 2000, 20_000])
@pytest.mark.parametrize("embedding_dim", [16, 64])
def test_student_is_20_times_smaller_than_the_teacher(num_words, embedding_dim):
    teacher, student = (b(data(num_words), embedding_dim=embedding_dim) for b in BUILDERS)
    assert teacher.count_params() >= 20 * student.count_params()


@pytest.mark.parametrize("build", BUILDERS)
def test_gives_two_embeddings_of_length_one_the_first_at_the_learned_scale(build):
    model = build(data(), embedding_dim=8)
    pairs = model(inputs())
    assert pairs.shape == (3, 16) and pairs.dtype == "float32"
    first, second = halves(pairs)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1 / 0.07, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(second, axis=1), 1, rtol=1e-5)
    for name, half in (("image", first * 0.07), ("text", second)):
        alone = tower(model, name)
        assert list(alone.input) == [name]
        np.testing.assert_allclose(alone({name: inputs()[name]}), half, atol=1e-6)


@pytest.mark.parametrize("name", ["image", "text"])
def test_an_absent_modality_gives_zeros_and_finite_gradients(name):
    model = build_student(data(), embedding_dim=8)
    batch = inputs()
    batch[name][1] = 0
    half = dict(zip(("image", "text"), halves(model(batch)), strict=True))[name]
    assert not half[1].any() and half[0].any()
    model.compile(keras.optimizers.SGD(0.1), loss=MatchingLoss(), jit_compile=False)
    model.train_on_batch(batch, np.arange(3))
    assert all(np.isfinite(weight).all() for weight in model.weights)


@pytest.mark.parametrize("build", BUILDERS)
def test_fit_learns_the_scale_and_saving_keeps_it(build, tmp_path):
    model = seeded(build(data(), embedding_dim=8), seed=0)
    model.compile(keras.optimizers.Adam(0.01), loss=MatchingLoss(), jit_compile=False)
    batch, items = inputs(8), np.arange(8)
    losses = [model.train_on_batch(batch, items) for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    scale = float(model.get_layer("logit_scale").log_scale)
    assert abs(scale - np.log(1 / 0.07)) > 1e-3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(loaded.get_layer("logit_scale").log_scale) == scale
    np.testing.assert_array_equal(loaded(batch), model(batch))
    assert np.isfinite(loaded.train_on_batch(batch, items)).all()


@pytest.mark.parametrize(("start", "rate", "end"), [(4.6, 1.0, np.log(100.0)), (0.02, -1.0, 0.0)])
def test_the_scale_stays_between_1_and_100(start, rate, end):
    inputs = keras.Input([4])
    layer = LogitScale()
    model = keras.Model(inputs, layer(inputs))
    layer.log_scale.assign(start)
    # The loss is |labels - outputs|: with labels above the outputs a step makes the scale larger.
    model.compile(keras.optimizers.SGD(1.0), loss="mae", jit_compile=False)
    model.train_on_batch(np.ones([2, 4]), np.full([2, 4], rate * 1000.0))
    assert float(layer.log_scale) == pytest.approx(end, abs=1e-6)


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    model = build_teacher(data(), embedding_dim=8)
    a, b, c = (seeded(model, seed=seed)(inputs()) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(np.asarray(a) - np.asarray(c)).max() > 1e-3


def test_lengths_are_exact_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_student(data(), embedding_dim=8)
        pairs = model(inputs())
    finally:
        keras.config.set_dtype_policy("float32")
    assert pairs.dtype == "float32"
    np.testing.assert_allclose(np.linalg.norm(halves(pairs)[1], axis=1), 1, rtol=1e-6)


def test_refuses_one_input_and_no_width_in_one_error():
    with pytest.raises(ValueError, match=r"(?s)two inputs.*\['text'\].*`embedding_dim`"):
        build_teacher(data(50, "text"), embedding_dim=0)


def test_two_pictures_may_belong_together_and_two_of_three_inputs():
    pictures = {name: Image(name, height=16) for name in ("front", "back")}
    there = SimpleNamespace(modalities={**data().modalities, **pictures}, task="retrieval")
    model = build_student(there, inputs=["front", "back"], embedding_dim=8)
    batch = {name: inputs()["image"] for name in pictures}
    assert model(batch).shape == (3, 16)
    assert list(tower(model, "back").input) == ["back"]


def test_refuses_a_fusion():
    with pytest.raises(ValueError, match="`fusion`: none for retrieval.*Received: Concatenation"):
        build_teacher(data(), fusion=Concatenation())
