"""Encoders are trained on with a head, or stay as they are."""

import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.backbones import backbone_of
from mmkd_tf.backbones.encoder import PictureEncoder, TextEncoder
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import with_pretrained
from mmkd_tf.distill.finetuning import finetune, read_tuned, write_tuned
from mmkd_tf.distill.training import Recipe
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

WORDS = ["red", "green", "thing"]
MORE = Recipe(epochs=8, batch_size=16, learning_rate=3e-2, augment=False)
WILD = Recipe(epochs=1, batch_size=16, learning_rate=9.0, augment=False)


def examples(count, seed):
    """Halves of pictures are bright; which one decides. One lacks a picture, one a text."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype("int32")
    pictures = rng.integers(1, 100, [count, 12, 12, 3])
    for picture, label in zip(pictures, labels, strict=True):
        picture[:, 6 * label : 6 * label + 6] += 100
    texts = ["thing"] * count
    pictures[0], texts[1] = 0, ""
    inputs = {"image": pictures.astype(np.uint8), "text": np.ones([count, 1], "int32")}
    return Examples(inputs, labels, {"text": texts})


@pytest.fixture
def dataset():
    return Dataset(
        name="halves",
        splits={"train": examples(64, 0), "validation": examples(32, 1), "test": examples(8, 2)},
        class_names=["left", "right"],
        modalities={
            "image": Image(height=12),
            "text": Text(vocabulary=["<pad>", "<unk>", *WORDS], length=1),
        },
    )


def picture_encoder():
    """Its last layer forgets what it is told, until it is trained on."""
    inputs = keras.Input([8, 8, 3])
    x = layers.Rescaling(1 / 128, offset=-1)(inputs)
    start = keras.initializers.GlorotUniform(seed=1)
    x = layers.Conv2D(4, 2, strides=2, activation="relu", kernel_initializer=start, name="low")(x)
    x = layers.BatchNormalization(name="norm")(x)
    top = layers.Dense(6, name="high", kernel_initializer=keras.initializers.Constant(0.1))
    model = keras.Model(inputs, top(layers.Flatten()(x)), name="pictures")
    model.trainable = False
    backbone = backbone_of(model, name="pictures", kind="image")
    return PictureEncoder(backbone, model, version="1", top=top.weights)


def text_encoder():
    ids = keras.Input([None], dtype="int32")
    start = keras.initializers.GlorotUniform(seed=2)
    x = layers.Embedding(5, 4, mask_zero=True, embeddings_initializer=start, name="table")(ids)
    model = keras.Model(ids, layers.GlobalAveragePooling1D()(x), name="texts")
    model.trainable = False

    def tokenize(texts):
        return [[WORDS.index(word) + 1 for word in text.split()] for text in texts]

    backbone = backbone_of(model, name="texts", kind="text", tokenize=tokenize)
    table = model.get_layer("table").weights
    return TextEncoder(
        backbone, model, version="1", tokenize=tokenize, vocabulary=lambda: WORDS, top=table
    )


@pytest.mark.parametrize("part", ["top", "all"])
def test_the_validation_loss_falls_and_features_are_those_of_the_tuned_weights(dataset, part):
    encoders = {"image": [picture_encoder()], "text": [text_encoder()]}
    (image,), (text,) = encoders.values()
    values = dataset.splits["test"].inputs["image"]
    before, prints = image.features(values), [image.fingerprint, text.fingerprint]
    at_first = {layer.name: layer.get_weights() for layer in image.model.layers}
    found = finetune(dataset, encoders, part=part, recipe=MORE)
    assert found.kept and found.tuned_loss < 0.5 * found.frozen_loss
    after = image.features(values)
    assert np.abs(after - before).max() > 0.1 and not after[0].any()
    np.testing.assert_allclose(np.linalg.norm(after[1:], axis=1), 1, atol=1e-5)
    changed = {
        layer.name
        for layer in image.model.layers
        for was, now in zip(at_first[layer.name], layer.get_weights(), strict=True)
        if (was != now).any()
    }
    assert changed == ({"high"} if part == "top" else {"low", "norm", "high"})
    assert [image.fingerprint, text.fingerprint] != prints and not image.model.trainable
    seen = with_pretrained(dataset, encoders).splits["test"].inputs
    np.testing.assert_allclose(seen["teacher/image"], after, atol=1e-6)
    norm = image.model.get_layer("norm")  # whose statistics are kept
    for now, was in zip(norm.get_weights()[2:], at_first["norm"][2:], strict=True):
        np.testing.assert_array_equal(now, was)


def test_where_the_loss_does_not_fall_the_encoders_are_as_before(dataset):
    encoder = picture_encoder()
    first, printed = encoder.model.get_weights(), encoder.fingerprint
    found = finetune(dataset, {"image": [encoder]}, recipe=WILD)
    assert not found.kept and found.tuned_loss >= found.frozen_loss
    for now, was in zip(encoder.model.get_weights(), first, strict=True):
        np.testing.assert_array_equal(now, was)
    assert encoder.fingerprint == printed and not encoder.model.trainable


@pytest.mark.parametrize("recipe", [MORE, WILD], ids=["kept", "restored"])
def test_what_was_written_makes_other_encoders_the_same(dataset, tmp_path, recipe):
    tuned, other, file = picture_encoder(), picture_encoder(), tmp_path / "tuned.npz"
    assert read_tuned(file, {"image": [other]}, part="top") is None
    found = finetune(dataset, {"image": [tuned]}, recipe=recipe)
    write_tuned(file, found, {"image": [tuned]}, part="top")
    assert read_tuned(file, {"image": [other]}, part="top") == found
    assert found.kept == (recipe is MORE) == (other.fingerprint != picture_encoder().fingerprint)
    values = dataset.splits["test"].inputs["image"]
    np.testing.assert_array_equal(other.features(values), tuned.features(values))
    assert other.fingerprint == tuned.fingerprint


def test_encoders_without_such_weights_are_named(dataset):
    one, two = picture_encoder(), text_encoder()
    one._top, two._top = [], []
    with pytest.raises(ValueError, match="(?s)'top' of pictures, .*'top' of texts, of which none"):
        finetune(dataset, {"image": [one], "text": [two]})
    with pytest.raises(ValueError, match="top or all. Received: part='some'"):
        one.tunable("some")
