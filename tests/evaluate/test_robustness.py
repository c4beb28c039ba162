from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Examples
from mmkd_tf.evaluate.damage.areas import relative_robustness
from mmkd_tf.evaluate.damage.kinds import DAMAGES, damaged
from mmkd_tf.evaluate.metrics import accuracy
from mmkd_tf.evaluate.robustness import robustness
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

SIZE = 8


def bright(inputs):
    """Logits that name class 1 where the picture's first value is above 127."""
    level = keras.ops.cast(inputs["image"][:, 0, 0, 0], "float32") - 127
    return keras.ops.stack([-level, level], axis=1)


def says_yes(inputs):
    """Logits that name class 1 where the first word has id 2, 0 where it has another."""
    found = keras.ops.cast(inputs["text"][:, 0] == 2, "float32") - 0.5
    return keras.ops.stack([-found, found], axis=1)


def model(*functions):
    """A model whose logits are the sum of what the functions say of its inputs."""
    shapes = {bright: ("image", [SIZE, SIZE, 3], "uint8"), says_yes: ("text", [3], "int32")}
    inputs = {
        name: keras.Input(shape, dtype=dtype, name=name)
        for name, shape, dtype in (shapes[function] for function in functions)
    }

    class Rule(keras.layers.Layer):
        def call(self, values):
            return sum(function(values) for function in functions)

    return keras.Model(inputs, Rule()(inputs))


@pytest.fixture
def dataset():
    labels = np.array([0, 1] * 5, np.int32)
    pictures = np.where(labels[:, None, None, None], 250, 5) * np.ones([SIZE, SIZE, 3])
    texts = ["yes it is" if label else "no it was" for label in labels]
    text = Text(["<pad>", "<unk>", "yes", "no", "it", "is", "was"], length=3)
    inputs = {"image": pictures.astype(np.uint8), "text": text.to_tensor(texts).numpy()}
    examples = Examples(inputs, labels, texts)
    return SimpleNamespace(
        splits={"test": examples}, modalities={"image": Image(SIZE), "text": text}
    )


def test_scores_are_those_of_the_models_on_damaged_inputs(dataset):
    models = {
        "teacher": model(bright, says_yes),
        "student_alone": model(says_yes),
        "student": model(bright),
    }
    found = robustness(models, dataset, score=accuracy)
    assert found["split"] == "test" and found["num_examples"] == 10
    assert found["clean"] == {"teacher": 1.0, "student_alone": 1.0, "student": 1.0}
    # This teacher takes no picture for a dark one; models of one modality have no such row.
    assert found["absent"] == {
        "teacher": {"image": 0.5, "text": 1.0},
        "student_alone": {},
        "student": {},
    }
    blurred, mistyped = found["damage"]["blur"], found["damage"]["typos"]
    assert blurred["modality"] == "image" and mistyped["modality"] == "text"
    # An even picture is the same when blurred; the models that don't read it are left out.
    assert blurred["score"] == {"teacher": [1.0] * 6, "student": [1.0] * 6}
    assert blurred["relative"] == {"teacher": 1.0, "student": 1.0}
    assert blurred["effective"] == {}  # the reference reads no pictures
    # The large logits of the picture outvote the text's.
    assert mistyped["score"]["teacher"] == [1.0] * 6
    # With a mistake in each word none is "yes" any more: all are called class 0.
    alone = mistyped["score"]["student_alone"]
    assert alone[0] == 1.0 and alone[-1] == 0.5 and sorted(alone, reverse=True) == alone
    assert mistyped["effective"] == {"teacher": pytest.approx(1 - relative_robustness(alone))}


def test_every_level_is_scored_on_all_examples_as_they_are_then(dataset):
    seen = []

    def score(logits, labels):
        seen.append(logits.copy())
        return float(len(labels)) / 10

    read = model(says_yes)
    found = robustness({"student_alone": read}, dataset, score=score)
    assert all(curve["score"]["student_alone"] == [1.0] * 6 for curve in found["damage"].values())
    clean = dataset.splits["test"].inputs["text"]
    texts = [
        clean
        if amount is None
        else damaged(damage, amount, dataset, split="test", rows=range(10), seed=0)
        for damage in DAMAGES.values()
        if damage.modality == "text"
        for amount in (None, *damage.amounts)
    ]
    expected = [np.asarray(read({"text": values})) for values in texts]
    np.testing.assert_allclose(seen[:-1], expected)


def test_examples_that_have_nothing_left_are_not_counted(dataset):
    dataset.splits["test"].inputs["image"][:4] = 0
    counted = []

    def score(logits, labels):
        counted.append(len(labels))
        return 1.0

    found = robustness({"teacher": model(bright, says_yes)}, dataset, score=score)
    assert counted[-3:] == [10, 10, 6]  # clean, without pictures, without texts
    dataset.splits["test"].inputs["image"][:] = 0
    found = robustness({"teacher": model(bright, says_yes)}, dataset, score=score)
    assert list(found["absent"]["teacher"]) == ["image"]


def test_of_many_examples_a_seeded_choice_is_looked_at(dataset):
    chosen = []

    def score(logits, labels):
        chosen.append(logits[:, 0])
        return 1.0

    dataset.splits["test"].inputs["image"][:, 0, 0, 0] = np.arange(10)
    models = {"student": model(bright)}
    found = robustness(models, dataset, score=score, max_examples=4)
    assert found["num_examples"] == 4 and len(set(chosen[0])) == 4
    first = list(chosen[0])
    for seed, same in ((0, True), (1, False)):
        chosen.clear()
        robustness(models, dataset, score=score, max_examples=4, seed=seed)
        assert (list(chosen[0]) == first) == same
