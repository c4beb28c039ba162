"""Parts of pretrained encoders in a student."""

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.backbones.encoder import Encoder, PictureEncoder
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.held import held_model
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.image_set import ImageSet
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import inheritance
from mmkd_tf.models.builder import build_student
from mmkd_tf.models.inheritance import (
    SIZES,
    WORD_SPREAD,
    Inheritance,
    Source,
    gives_parts,
    inherited_encoders,
    inherited_forms,
    linear_probe,
    picture_encoder,
    text_encoder,
    word_vectors,
)
from mmkd_tf.models.seeding import seeded

WORDS = ["<pad>", "<unk>", "red", "cup", "big", "lamp", "old"]
TEXT = Text(vocabulary=WORDS, length=3)
SMALL = Inheritance(held=1, blocks=2, words=2, word_dim=4)
PICTURES = np.random.default_rng(0).integers(1, 256, [3, 32, 32, 3]).astype(np.uint8)


class FakeWords:
    """Six random numbers for a word, always the same ones."""

    def features(self, words):
        seeds = [sum(map(ord, word)) for word in words]
        return np.stack([np.random.default_rng(s).normal(size=6) for s in seeds]).astype(np.float32)

    def words(self):
        return ["the", "cup", "bread", "clear", "red", "хлеб", "dim", "more"]


@pytest.fixture(autouse=True)
def no_common_words(monkeypatch):
    """So that words are the encoder's alone."""
    monkeypatch.setattr(inheritance, "common_words", lambda known: [])


def blocks_model(count, *, height, width, name):
    """A stem and convolutions, whose weights follow from their places alone."""
    inputs = keras.Input([height, width, 3], dtype="uint8", name=f"{name}_pixels")
    x = layers.Rescaling(1 / 255, name=f"{name}_rescaling")(inputs)
    for block in range(count + 1):
        start = keras.initializers.GlorotUniform(seed=block)
        x = layers.Conv2D(4, 3, strides=2, kernel_initializer=start, name=f"{name}_block{block}")(x)
        x = layers.BatchNormalization(name=f"{name}_block{block}_norm")(x)
    return keras.Model(inputs, x, name=name)


@pytest.fixture(scope="module")
def pictures():
    model = keras.Sequential([keras.Input([32, 32, 3]), layers.GlobalAveragePooling2D()])
    backbone = SimpleNamespace(name="fake", kind="image", dim=3, size=32)
    return PictureEncoder(
        backbone,
        model,
        version="1",
        blocks=lambda n, *, height, width, name: blocks_model(
            n, height=height, width=width, name=name
        ),
        block_count=2,
    )


def test_word_vectors_are_principal_components():
    vectors = word_vectors(Source(FakeWords()), WORDS, 4)
    assert vectors.dtype == np.float32 and vectors.shape == (7, 4)
    assert not vectors[:2].any()
    assert vectors[2:].std() == pytest.approx(WORD_SPREAD, rel=1e-3)
    features = FakeWords().features(WORDS[2:])
    centred = features - features.mean(0)
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (left * spread)[:, :4]
    expected *= WORD_SPREAD / expected.std()
    signs = np.sign((expected * vectors[2:]).sum(0))
    np.testing.assert_allclose(vectors[2:], expected * signs, atol=1e-4)


def test_word_vectors_of_few_words_and_of_wide_vectors():
    assert not word_vectors(Source(FakeWords()), WORDS[:2], 4).any()
    wide = word_vectors(Source(FakeWords()), WORDS, 9)  # the encoder has six numbers alone
    assert wide.shape == (7, 9) and not wide[:, 6:].any()
    assert np.isfinite(word_vectors(Source(FakeWords()), WORDS[:3], 4)).all()


def test_the_vocabulary_begins_with_the_words_of_training():
    more = Source(FakeWords()).words(WORDS, 3)
    assert more == ["bread", "clear", "dim"]  # of letters that there are
    given = {"image": Image(height=32), "text": TEXT}
    forms = inherited_forms(given, {"text": Source(FakeWords()), "image": None}, SMALL)
    assert (forms["text"].name, forms["text"].length) == (TEXT.name, TEXT.length)
    assert list(forms) == ["text"] and forms["text"].vocabulary == [*WORDS, "bread", "clear"]


def test_a_probe_is_a_ridge_regression_on_what_is_there():
    rng = np.random.default_rng(0)
    features, classes = rng.normal(size=[40, 6]), rng.integers(0, 3, 40)
    features[4] = 0  # absent
    probe = linear_probe(features, np.eye(3)[classes])
    there = np.delete(np.arange(40), 4)
    centred = features[there] - features[there].mean(0)
    targets = np.eye(3)[classes[there]] - np.eye(3)[classes[there]].mean(0)
    targets /= targets.std()
    strength = (centred**2).sum() / 6
    stacked = np.vstack([centred, np.sqrt(strength) * np.eye(6)])
    expected = np.linalg.lstsq(stacked, np.vstack([targets, np.zeros([6, 3])]), rcond=None)[0]
    np.testing.assert_allclose(probe(features[there]), centred @ expected, atol=1e-9)
    assert linear_probe(features, np.ones([40, 2])) is None
    assert linear_probe(np.zeros([40, 6]), np.eye(3)[classes]) is None


def test_common_words_and_those_of_the_encoder_take_turns(monkeypatch):
    monkeypatch.setattr(inheritance, "common_words", lambda known: ["pure", "red", "dim", "mule"])
    assert Source(FakeWords()).words(WORDS, 4) == ["bread", "dim", "mule", "pure"]


def test_words_that_say_most_to_the_probe_are_taken():
    class Spoken(FakeWords):
        """The first number alone is of a task; only `clear` and `dim` have much of it."""

        def features(self, words):
            found = super().features(words)
            found[:, 0] = [{"clear": 5.0, "dim": -4.0}.get(word, 0.1) for word in words]
            return found

    features = np.eye(6)[[0, 1, 2, 3, 4, 5]]
    source = Source(Spoken(), linear_probe(features, features[:, :1]))
    assert source.words(WORDS, 2) == ["clear", "dim"]
    most_frequent = dataclasses.replace(source, most_frequent=1).words(WORDS, 2)
    assert most_frequent == dataclasses.replace(source, probe=None).words(WORDS, 1) != ["clear"]
    assert source.words(WORDS, 9) == ["bread", "clear", "dim", "more"]
    vectors = word_vectors(source, ["<pad>", "<unk>", "clear", "red", "cup", "dim"], 4)
    assert vectors.shape == (6, 4) and not vectors[:2].any()
    answers = source.probe(source.features(["clear", "red", "cup", "dim"]))[:, 0]
    assert abs(np.corrcoef(vectors[2:, 0], answers)[0, 1]) > 0.999


def test_a_text_is_read_with_the_vectors_of_its_words():
    (model,) = text_encoder(TEXT, Source(FakeWords()), SMALL, seed=1)
    (table,) = model.get_layer("text_words").get_weights()
    np.testing.assert_array_equal(table, word_vectors(Source(FakeWords()), WORDS, 4))
    assert model.get_layer("text_words").trainable
    again = text_encoder(TEXT, Source(FakeWords()), SMALL, seed=1)[0]
    ids = np.int32([[2, 3, 0], [4, 0, 0]])
    np.testing.assert_array_equal(again(ids), model(ids))
    assert model(ids).shape == (2, 32)
    other = text_encoder(TEXT, Source(FakeWords()), SMALL, seed=2)[0]
    assert np.abs(np.asarray(other(ids)) - model(ids)).max() > 1e-3


def test_pictures_go_through_the_first_blocks(pictures):
    image = Image("photo", height=32)
    held, above = picture_encoder(image, Source(pictures), SMALL, seed=0)
    assert (held.name, above.name) == ("photo_held", "photo_inherited")
    assert not held.trainable_weights and above.trainable_weights
    assert held.input.dtype == "uint8"
    np.testing.assert_allclose(
        held(PICTURES), pictures.first_blocks(1, height=32)(PICTURES), atol=1e-5
    )
    whole = pictures.first_blocks(2, height=32)
    np.testing.assert_allclose(above(held(PICTURES)), whole(PICTURES), atol=1e-5)
    assert len(held.weights) + len(above.weights) == len(whole.weights)


@pytest.mark.parametrize("held", [2, 3])
def test_where_all_blocks_are_held_there_is_one_model(pictures, held):
    size = Inheritance(held=held, blocks=held, words=0, word_dim=4)
    models = picture_encoder(Image(height=32), Source(pictures), size, seed=0)
    out = PICTURES
    for model in models:
        out = model(out)
        assert not model.trainable_weights
    whole = pictures.first_blocks(2, height=32)
    np.testing.assert_allclose(out, whole(PICTURES), atol=1e-5)


def test_a_student_begins_with_them_and_keeps_what_is_held(pictures):
    labels = np.arange(3, dtype=np.int32) % 2
    given = Examples({"image": PICTURES, "text": np.int32([[2, 3, 0], [0] * 3, [5, 0, 0]])}, labels)
    dataset = Dataset(
        name="few",
        splits=dict.fromkeys(("train", "validation", "test"), given),
        class_names=["x", "y"],
        modalities={"image": Image(height=32), "text": TEXT},
    )
    encoders = inherited_encoders(
        dataset.modalities,
        {"image": Source(pictures), "text": Source(FakeWords())},
        SMALL,
        seed=0,
    )
    student = seeded(build_student(dataset, encoders=encoders), seed=3)
    held = student.get_layer("image_held")
    np.testing.assert_allclose(
        held(PICTURES), pictures.first_blocks(1, height=32)(PICTURES), atol=1e-5
    )
    (table,) = student.get_layer("text_inherited").get_layer("text_words").get_weights()
    np.testing.assert_array_equal(table, word_vectors(Source(FakeWords()), WORDS, 4))
    assert not held.trainable_weights
    student.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before, above = held.get_weights(), student.get_layer("image_inherited").get_weights()
    student.fit(dict(given.inputs), labels, epochs=2, verbose=0)
    for was, now in zip(before, held.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was)
    now = student.get_layer("image_inherited").get_weights()
    assert any((a != b).any() for a, b in zip(above, now, strict=True))


@pytest.mark.parametrize("encoder", ["convolution", "average"])
def test_other_forms_read_the_same_vectors(encoder):
    text = Text(vocabulary=WORDS, length=3, encoder=encoder)
    (model,) = text_encoder(text, Source(FakeWords()), SMALL, seed=1)
    (table,) = model.get_layer("text_words").get_weights()
    np.testing.assert_array_equal(table, word_vectors(Source(FakeWords()), WORDS, 4))
    ids = np.int32([[2, 3, 0], [4, 0, 0]])
    again = text_encoder(text, Source(FakeWords()), SMALL, seed=1)[0]
    np.testing.assert_array_equal(again(ids), model(ids))
    assert model(ids).shape == (2, 32)
    assert not any(layer.__class__.__name__ == "LSTM" for layer in model.layers)


SETS = np.stack([PICTURES, PICTURES[::-1]], axis=1)
SETS[1, 0] = 0


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_set_goes_through_them_picture_by_picture(pictures, blocks):
    size = Inheritance(held=1, blocks=blocks, words=0, word_dim=4)
    *parts, pooled = picture_encoder(
        ImageSet("photos", views=2, height=32), Source(pictures), size, seed=0
    )
    maps = SETS
    for part in parts:
        maps = part(maps)
    assert parts[0].name == "photos_held" and not parts[0].trainable_weights
    alone = np.array(pictures.first_blocks(blocks, height=32)(SETS.reshape(6, 32, 32, 3)))
    alone = alone.reshape(3, 2, *alone.shape[1:])
    alone[1, 0] = 0
    np.testing.assert_allclose(maps, alone, atol=1e-5)
    of_pictures = alone.mean((2, 3))
    expected = np.stack([of_pictures[0].mean(0), of_pictures[1, 1], of_pictures[2].mean(0)])
    np.testing.assert_allclose(pooled(maps), expected, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "max", "attention"])
def test_held_blocks_of_a_set_may_be_run_beforehand(pictures, pool):
    given = Examples({"photos": SETS}, np.arange(3, dtype=np.int32) % 2)
    image = ImageSet("photos", views=2, height=32, pool=pool)
    dataset = Dataset(
        name="few",
        splits=dict.fromkeys(("train", "validation", "test"), given),
        class_names=["x", "y"],
        modalities={"photos": image},
    )
    sources = {"photos": Source(pictures)}
    encoders = inherited_encoders(dataset.modalities, sources, SMALL, seed=0)
    student = seeded(build_student(dataset, encoders=encoders), seed=3)
    part, held = held_model(student)
    outputs = np.asarray(held["photos"](SETS))
    assert not outputs[1, 0].any() and outputs[1, 1].any()
    found = part({"photos": outputs.astype("float16")})
    np.testing.assert_allclose(found, student({"photos": SETS}), atol=5e-3)
    learnt = {variable.path for variable in part.trainable_variables}
    assert learnt == {variable.path for variable in student.trainable_variables}
    assert any("pool" in path for path in learnt) == (pool == "attention")


class Sketch(Image):
    """A kind that the package does not know, of pictures."""

    kind = "sketch"


class Title(Text):
    """One of texts."""

    kind = "title"


def test_kinds_from_outside_inherit_too(pictures):
    modalities = {
        "drawn": Sketch("drawn", height=32),
        "small": Sketch("small", height=24),  # for which no blocks are known
        "name": Title("name", vocabulary=WORDS, length=3),
    }
    encoders = {"drawn": pictures, "small": pictures, "name": FakeWords()}
    sources = {name: Source(encoder) for name, encoder in encoders.items()}
    forms = inherited_forms(modalities, sources, SMALL)
    assert {name: type(form) for name, form in forms.items()} == {"name": Title}
    assert forms["name"].vocabulary == [*WORDS, "bread", "clear"]
    made = inherited_encoders(modalities | forms, sources, SMALL, seed=0)
    assert {name: len(parts) for name, parts in made.items()} == {"drawn": 2, "name": 1}
    assert [gives_parts(modalities[name], encoders[name]) for name in encoders] == [1, 0, 1]


def test_an_encoder_without_parts_gives_none():
    class Sound(Encoder):
        """Of a kind that has neither blocks nor words."""

        def features(self, values, *, batch_size=32):
            raise NotImplementedError

    sound = Sound(SimpleNamespace(name="sound"), None, version="1")
    heard = SimpleNamespace(name="heard", takes_utf8=False)
    assert not gives_parts(heard, sound)
    assert inherited_encoders({"heard": heard}, {"heard": Source(sound)}, SMALL, seed=0) == {}


def test_larger_sizes_take_over_more():
    sizes = [SIZES[name] for name in ("tiny", "small", "medium")]
    for field in ("held", "blocks", "words", "word_dim"):
        numbers = [getattr(size, field) for size in sizes]
        assert numbers == sorted(numbers)
    assert all(size.held <= size.blocks for size in sizes)
