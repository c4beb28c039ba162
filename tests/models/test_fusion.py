import keras
import numpy as np
import pytest

from mmkd_tf.models.fusion import Attention, Concatenation, Presence, WeightedSum

FUSIONS = [Concatenation, WeightedSum, Attention]
BATCH = 5


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(BATCH, 6)).astype("float32"),
        "text": rng.normal(size=(BATCH, 4)).astype("float32"),
    }


def presence(image=1.0, text=1.0):
    values = {"image": image, "text": text}
    return {name: np.full([BATCH, 1], value, "float32") for name, value in values.items()}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("absent", ["image", "text"])
def test_the_features_of_an_absent_modality_do_not_matter(fusion, absent, features):
    layer = fusion()
    there = presence(**{absent: 0.0})
    fused = layer(features, there)
    changed = {**features, absent: features[absent] * 100 + 1}
    np.testing.assert_array_equal(fused, layer(changed, there))
    assert np.abs(np.asarray(fused) - np.asarray(layer(features, presence()))).max() > 1e-3


@pytest.mark.parametrize("fusion", [WeightedSum, Attention])
def test_one_modality_alone_is_its_projection(fusion, features):
    layer = fusion(fused_dim=3)
    fused = layer(features, presence(text=0.0))
    np.testing.assert_allclose(fused, layer.projections["image"](features["image"]), atol=1e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_nothing_there_gives_zeros(fusion, features):
    assert not np.asarray(fusion()(features, presence(image=0.0, text=0.0))).any()


def test_concatenation_by_hand(features):
    fused = Concatenation()(features, presence(text=0.0))
    expected = np.concatenate([features["image"], np.zeros_like(features["text"])], axis=1)
    np.testing.assert_array_equal(fused, expected)


def test_weighted_sum_by_hand(features):
    layer = WeightedSum(fused_dim=3)
    layer(features, presence())
    layer.scores.assign([np.log(3.0), 0.0])
    tokens = {name: np.asarray(layer.projections[name](features[name])) for name in features}
    expected = 0.75 * tokens["image"] + 0.25 * tokens["text"]
    np.testing.assert_allclose(layer(features, presence()), expected, atol=1e-6)


def test_attention_weights_differ_by_example(features):
    layer = Attention(fused_dim=3)
    fused = np.asarray(layer(features, presence()))
    tokens = {name: np.asarray(layer.projections[name](features[name])) for name in features}
    weights = (fused - tokens["text"]) / (tokens["image"] - tokens["text"])
    np.testing.assert_allclose(weights, weights[:, :1].repeat(3, 1), atol=1e-3)
    assert weights[:, 0].std() > 1e-3
    assert (0 < weights).all() and (weights < 1).all()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_model_with_it_runs_saves_and_loads(fusion, dtype, features, tmp_path):
    inputs = {name: keras.Input(value.shape[1:], name=name) for name, value in features.items()}
    there = {name: Presence(name=f"{name}_presence")(inputs[name]) for name in inputs}
    model = keras.Model(inputs, fusion(dtype=dtype)(inputs, there))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    fused = np.asarray(model(features), "float32")
    assert np.isfinite(fused).all()
    np.testing.assert_array_equal(fused, np.asarray(loaded(features), "float32"))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_refuses_presence_of_other_modalities(fusion, features):
    with pytest.raises(ValueError, match="`presence`: an entry for each modality"):
        fusion()(features, {"image": np.ones([BATCH, 1], "float32")})


def test_presence_looks_for_any_value_that_is_not_zero():
    ids = np.array([[0, 0, 0], [0, 0, 9], [-1, 0, 0]], "int32")
    np.testing.assert_array_equal(Presence()(ids), [[0], [1], [1]])
    pictures = np.zeros([2, 8, 8, 3], np.uint8)
    pictures[1, 7, 7, 2] = 1
    np.testing.assert_array_equal(Presence()(pictures), [[0], [1]])
