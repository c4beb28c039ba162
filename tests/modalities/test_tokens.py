import keras
import numpy as np
import pytest

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

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
