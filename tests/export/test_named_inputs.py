"""Models whose inputs are called otherwise than their kinds, from Keras to the reader."""

import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.config import ExportSettings
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.edge import Classifier, Encoder, Retriever
from mmkd_tf.edge.encoder import find_towers
from mmkd_tf.export.export_all import export_all
from mmkd_tf.export.tflite import export_tflite
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.builder import build_student

WORDS = ["<pad>", "<unk>", "red", "cup", "茶"]
LENGTH = 4
NAMES = ["new", "used", "broken"]


@pytest.fixture(scope="module")
def inputs():
    return {
        "front": Image("front", height=16),
        "back": Image("back", height=8, width=12),
        "title": Text("title", vocabulary=WORDS, length=LENGTH),
    }


@pytest.fixture(scope="module")
def named_model(inputs):
    keras.utils.set_random_seed(1)
    front, back, title = (one.input() for one in inputs.values())
    parts = [
        layers.Dense(4)(layers.Flatten()(layers.Rescaling(1 / 99)(one))) for one in (front, back)
    ]
    parts.append(layers.LSTM(4)(layers.Embedding(5, 8, "normal", mask_zero=True)(title)))
    logits = layers.Dense(3)(layers.Concatenate()(parts))
    return keras.Model({"front": front, "back": back, "title": title}, logits)


def examples_of(inputs, number, seed=0):
    rng = np.random.default_rng(seed)
    made = {}
    for name, one in inputs.items():
        most = 5 if isinstance(one, Text) else 256
        made[name] = rng.integers(2, most, [number, *one.input().shape[1:]])
        made[name] = made[name].astype(one.input().dtype)
    return made


@pytest.mark.parametrize("quantize", [None, "dynamic"])
@pytest.mark.parametrize("text_input", ["ids", "bytes"])
def test_two_pictures_and_a_title(named_model, inputs, tmp_path, quantize, text_input):
    examples = examples_of(inputs, 40)
    made = export_tflite(
        named_model,
        tmp_path / "a.tflite",
        class_names=NAMES,
        examples=examples,
        labels=np.asarray(named_model(examples)).argmax(axis=1),
        modalities=inputs,
        quantize=quantize,
        text_input=text_input,
    )
    assert made.text_input == text_input and made.accuracy >= 0.95
    assert made.max_abs_logit_difference <= (1e-4 if quantize is None else 0.2)
    classifier = Classifier(tmp_path / "a.tflite")
    assert set(classifier.inputs) == set(inputs)
    front, back = examples["front"][0], examples["back"][0]
    found = classifier.predict(front=front, back=back, title="A red 茶!")
    title = np.array([[1, 2, 4, 0]], "int32")
    tensors = {"front": front[None], "back": back[None], "title": title}
    absent = {name: np.zeros_like(values) for name, values in tensors.items()}
    for given, answer in (
        (tensors, found),
        (absent | {"back": back[None]}, classifier.predict(back=back)),
        (absent | {"title": title}, classifier.predict(title="a red 茶", front=None)),
    ):
        expected = keras.ops.softmax(named_model(given)).numpy()[0]
        np.testing.assert_allclose(
            [answer.probabilities[name] for name in NAMES],
            expected,
            atol=1e-5 if quantize is None else 0.05,
        )
    with pytest.raises(ValueError, match="`front`: .*no such file"):
        classifier.predict(front="missing.png", title="red")


def test_kinds_are_told_by_shape_where_nobody_says_them(named_model, inputs, tmp_path):
    examples = examples_of(inputs, 8)
    files = {}
    for name, how in (("told", {"modalities": inputs}), ("seen", {"vocabulary": WORDS})):
        files[name] = tmp_path / name
        export_tflite(named_model, files[name], class_names=NAMES, examples=examples, **how)
    assert files["told"].read_bytes() == files["seen"].read_bytes()
    with pytest.raises(ValueError) as caught:
        export_tflite(
            named_model,
            tmp_path / "a",
            class_names=NAMES,
            examples=examples,
            modalities={"front": inputs["front"]},
            vocabulary=WORDS,
        )
    assert "`vocabulary`: None beside `modalities`" in str(caught.value)
    assert "`modalities`: one for each input of the model" in str(caught.value)
    titles = [keras.Input([4], dtype="int32", name=name) for name in ("title", "text")]
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(5, 2)(one)) for one in titles])
    two = keras.Model(titles, layers.Dense(3)(x))
    zeros = {one.name: np.zeros([2, 4], "int32") for one in titles}
    with pytest.raises(ValueError, match=r"Of the texts \['title', 'text'\] give `modalities`"):
        export_tflite(two, tmp_path / "a", class_names=NAMES, examples=zeros, vocabulary=WORDS)


@pytest.fixture(scope="module")
def pairs():
    """A Dataset of photos and captions, 12 of each."""
    inputs = {
        "photo": Image("photo", height=16),
        "caption": Text("caption", vocabulary=WORDS, length=LENGTH),
    }
    captions = [" ".join(WORDS[2 + int(d)] for d in np.base_repr(i, 3)) for i in range(12)]
    tensors = examples_of({"photo": inputs["photo"]}, 12)
    tensors["caption"] = inputs["caption"].to_tensor(captions).numpy()
    examples = Examples(tensors, np.arange(12, dtype="int32"), {"caption": captions})
    return Dataset(
        name="pairs",
        splits=dict.fromkeys(("train", "validation", "test"), examples),
        class_names=[],
        modalities=inputs,
        task="retrieval",
    )


def test_towers_of_any_two_inputs(pairs, tmp_path):
    keras.utils.set_random_seed(2)
    model = build_student(pairs, embedding_dim=8)
    made = export_all(model, pairs, ExportSettings(), tmp_path, quantize="dynamic")
    assert [one["file"] for one in made] == [
        f"student_{name}{end}"
        for name in ("photo", "caption")
        for end in ("_saved_model", ".tflite", "_small.tflite")
    ]
    assert {one["task"] for one in made} == {"retrieval"}
    assert all(0 <= one["test_accuracy"] <= 1 for one in made if one["test_accuracy"] is not None)
    assert list(find_towers(tmp_path)) == ["caption", "photo"]
    assert find_towers(tmp_path, name="student_alone") == {}
    retriever = Retriever(tmp_path)
    captions, photos = pairs.splits["train"].raw["caption"], pairs.splits["train"].inputs["photo"]
    encoders = {name: Encoder(tmp_path / f"student_{name}.tflite") for name in pairs.modalities}
    scores = encoders["photo"].encode(photos[:1]) @ encoders["caption"].encode(captions).T
    found = retriever.find(photo=photos[0], top=1)[0]
    assert found.item == captions[int(scores.argmax())]
    assert found.score == pytest.approx(scores.max(), abs=1e-5)
    assert len(retriever.find(photo=photos[0], candidates=captions[:3])) == 3
    with pytest.raises(ValueError, match="`candidates`: paths of pictures to choose from"):
        retriever.find(caption="red")
    for wrong in ({}, {"photo": photos[0], "caption": "red"}, {"image": photos[0]}):
        with pytest.raises(ValueError, match="`caption`, `photo`: one of them"):
            retriever.find(**wrong)
    (tmp_path / "student_photo.tflite").unlink()
    (tmp_path / "student_photo_small.tflite").unlink()
    with pytest.raises(FileNotFoundError, match="with student_caption.tflite"):
        Retriever(tmp_path)
