import keras
import numpy as np
import pytest

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.modalities.tokens import Pooling

TEXT = Text(vocabulary=["<pad>", "<unk>", *map(str, range(10))], length=4)
IDS = np.array([[3, 4, 0, 0], [5, 0, 0, 0], [0, 0, 0, 0]], "int32")


def tokens(modality, role):
    """A model of tokens and their presence, and one of the encoder with the same weights."""
    there = keras.Input([1], name="there")
    inputs = modality.input()
    given = getattr(modality, f"{role}_tokens")(inputs, there)
    by_token = keras.Model([inputs, there], given)
    inputs = modality.input()
    encoder = keras.Model(inputs, getattr(modality, f"{role}_encoder")(inputs))
    encoder.set_weights(by_token.get_weights())
    return by_token, encoder


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_words_follow_a_summary_that_is_the_encoders_features(role):
    model, encoder = tokens(TEXT, role)
    there = np.array([[1], [1], [0]], "float32")
    values, presence = map(np.asarray, model([IDS, there]))
    assert values.shape == (3, 5, 128 if role == "teacher" else 32)
    np.testing.assert_array_equal(presence, [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0] * 5])
    np.testing.assert_allclose(values[:, 0], encoder(IDS), atol=1e-6)
    # After a text's last word the LSTM has read all of it.
    np.testing.assert_allclose(values[0, 2], values[0, 0], atol=1e-6)
    assert model.get_layer("text_features").output.shape == (None, values.shape[2])


def test_patches_follow_their_mean():
    model, encoder = tokens(Image(height=32), "student")
    pictures = np.random.default_rng(0).integers(0, 256, [2, 32, 32, 3]).astype("uint8")
    values, presence = map(np.asarray, model([pictures, np.ones([2, 1], "float32")]))
    assert values.shape == (2, 1 + 4, 96) and presence.shape == (2, 1)
    np.testing.assert_allclose(values[:, 0], values[:, 1:].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(values[:, 0], encoder(pictures), atol=1e-6)


def test_the_teachers_patches_cost_no_weights_more():
    model, encoder = tokens(Image(height=32), "teacher")
    assert model.count_params() == encoder.count_params()
    assert model.get_layer("image_features").output.shape == (None, 128)


@pytest.mark.parametrize("encoder", ["convolution", "average"])
def test_words_without_an_lstm_follow_their_summary_too(encoder):
    text = Text(vocabulary=TEXT.vocabulary, length=4, encoder=encoder)
    model, features = tokens(text, "student")
    values, presence = map(np.asarray, model([IDS, np.array([[1], [1], [0]], "float32")]))
    np.testing.assert_array_equal(presence, [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0] * 5])
    np.testing.assert_allclose(values[:, 0], features(IDS), atol=1e-6)


VECTORS = np.array([[[1, -5], [3, -2], [9, 9]], [[-4, 2], [7, 7], [7, 7]], [[1, 1]] * 3], "float32")
THERE = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], "int32")


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("mean", [[2, -3.5], [-4, 2], [0, 0]]),
        ("max", [[3, -2], [-4, 2], [0, 0]]),
        ("attention", [[2, -3.5], [-4, 2], [0, 0]]),  # before it has learnt
    ],
)
def test_what_is_absent_is_not_pooled(pool, expected):
    np.testing.assert_allclose(Pooling(pool)(VECTORS, THERE), expected, atol=1e-6)


def test_attention_weighs_by_what_it_has_learnt():
    pooling = Pooling("attention")
    pooling(VECTORS, THERE)
    pooling.set_weights([np.array([[0.5], [0]], "float32")])
    weights = np.exp(5 * np.tanh([0.5, 1.5]))
    expected = weights @ VECTORS[0, :2] / weights.sum()
    np.testing.assert_allclose(pooling(VECTORS, THERE)[0], expected, rtol=1e-5)
    again = Pooling.from_config(pooling.get_config())
    assert again.pool == "attention"


def test_another_way_of_pooling_is_refused():
    with pytest.raises(ValueError, match="`pool`: mean, max or attention. Received: pool='sum'"):
        Pooling("sum")
