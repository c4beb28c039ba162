from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Examples
from mmkd_tf.evaluate.robustness import (
    damaged,
    damages,
    effective_robustness,
    relative_robustness,
    robustness,
)
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.tasks import find_task

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
    text = Text(vocabulary=["<pad>", "<unk>", "yes", "no", "it", "is", "was"], length=3)
    inputs = {"image": pictures.astype(np.uint8), "text": text.to_tensor(texts).numpy()}
    return SimpleNamespace(
        splits={"test": Examples(inputs, labels, {"text": texts})},
        modalities={"image": Image(height=SIZE), "text": text},
        task=find_task("single_label"),
    )


def scored(dataset, score):
    """The same data of a task with another score, of `(outputs, labels)`."""
    task = SimpleNamespace(
        score=lambda *, labels, outputs: score(outputs, labels), is_pairwise=False
    )
    return SimpleNamespace(**vars(dataset) | {"task": task})


def test_scores_are_those_of_the_models_on_damaged_inputs(dataset):
    models = {
        "teacher": model(bright, says_yes),
        "student_alone": model(says_yes),
        "student": model(bright),
    }
    found = robustness(models, dataset)
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
    found = robustness({"student_alone": read}, scored(dataset, score))
    assert all(curve["score"]["student_alone"] == [1.0] * 6 for curve in found["damage"].values())
    clean = dataset.splits["test"].inputs["text"]
    texts = [
        clean
        if amount is None
        else damaged(damage, amount, dataset, "text", split="test", rows=range(10), seed=0)
        for damage in Text.damages.values()
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

    found = robustness({"teacher": model(bright, says_yes)}, scored(dataset, score))
    assert counted[-3:] == [10, 10, 6]  # clean, without pictures, without texts
    dataset.splits["test"].inputs["image"][:] = 0
    found = robustness({"teacher": model(bright, says_yes)}, scored(dataset, score))
    assert list(found["absent"]["teacher"]) == ["image"]


def test_of_many_examples_a_seeded_choice_is_looked_at(dataset):
    chosen = []

    def score(logits, labels):
        chosen.append(logits[:, 0])
        return 1.0

    dataset.splits["test"].inputs["image"][:, 0, 0, 0] = np.arange(10)
    models = {"student": model(bright)}
    found = robustness(models, scored(dataset, score), max_examples=4)
    assert found["num_examples"] == 4 and len(set(chosen[0])) == 4
    first = list(chosen[0])
    for seed, same in ((0, True), (1, False)):
        chosen.clear()
        robustness(models, scored(dataset, score), max_examples=4, seed=seed)
        assert (list(chosen[0]) == first) == same


def test_two_inputs_of_a_kind_have_damages_of_their_own(dataset):
    dataset.modalities["back"] = Image("back", height=SIZE)
    dataset.splits["test"].inputs["back"] = dataset.splits["test"].inputs["image"].copy()
    found = {key: name for key, name, _ in damages(dataset)}
    assert found["image_blur"] == "image" and found["back_blur"] == "back"
    assert found["typos"] == "text" and "blur" not in found
    dataset.splits["test"].inputs["back"][:] = 0
    measured = robustness({"student": model(bright)}, dataset)["damage"]
    assert measured["image_blur"]["modality"] == "image" and "back_blur" not in measured


def test_half_a_pair_has_no_answer(dataset):
    dataset = scored(dataset, lambda outputs, labels: 1.0)
    dataset.task.is_pairwise = True
    assert robustness({"teacher": model(bright, says_yes)}, dataset)["absent"] == {"teacher": {}}


def test_relative_robustness_by_hand():
    # Trapezoids of width 1/5: (.9 + .8) / 2, (.8 + .6) / 2, ... add up to 2.95.
    curve = [0.9, 0.8, 0.6, 0.5, 0.4, 0.4]
    assert relative_robustness(curve) == pytest.approx(2.95 / 5)
    assert relative_robustness([0.7] * 6) == pytest.approx(0.7)


def test_effective_robustness_by_hand():
    # The losses differ by 0, .1, .2: width 1/2, (0 + .1) / 2 + (.1 + .2) / 2 = .2.
    curve, reference = [0.9, 0.8, 0.7], [0.6, 0.4, 0.2]
    assert effective_robustness(curve, reference=reference) == pytest.approx(0.1)
    assert effective_robustness(reference, reference=curve) == pytest.approx(-0.1)
    assert effective_robustness(curve, reference=curve) == 0
    shifted = np.array(reference) + 0.3
    assert effective_robustness(curve, reference=shifted) == pytest.approx(0.1)


TEXTS = ["a small red cup", "", "two blue lamps here", "!!!", "one more green pot"]


@pytest.fixture
def few():
    text = Text.fit("text", TEXTS, Text.Options(length=6))
    pictures = np.random.default_rng(0).integers(1, 255, [5, 16, 16, 3]).astype(np.uint8)
    pictures[1] = 0
    inputs = {"image": pictures, "text": text.to_tensor(TEXTS).numpy()}
    examples = Examples(inputs, np.zeros(5, np.int32), {"text": TEXTS})
    return SimpleNamespace(
        splits={"test": examples}, modalities={"image": Image(height=16), "text": text}
    )


DAMAGES = {
    kind: (name, damage)
    for name, modality in {"image": Image, "text": Text}.items()
    for kind, damage in modality.damages.items()
}


def damage(kind, dataset, *, rows=range(5), level=-1, seed=0):
    name, of_kind = DAMAGES[kind]
    amount, rows = of_kind.amounts[level], list(rows)
    return damaged(of_kind, amount, dataset, name, split="test", rows=rows, seed=seed)


@pytest.mark.parametrize("kind", DAMAGES)
def test_five_levels_change_what_is_there_and_leave_what_is_absent(kind, few):
    clean = few.splits["test"].inputs[DAMAGES[kind][0]]
    present = clean.reshape(5, -1).any(axis=1)
    assert len(DAMAGES[kind][1].amounts) == 5 and len(set(DAMAGES[kind][1].levels)) == 6
    for level in range(5):
        changed = damage(kind, few, level=level)
        assert changed.dtype == clean.dtype and changed.shape == clean.shape
        np.testing.assert_array_equal(changed.reshape(5, -1).any(axis=1), present)
    assert (changed != clean).reshape(5, -1).any(axis=1)[present].all()


@pytest.mark.parametrize("kind", DAMAGES)
def test_an_example_is_damaged_alike_whatever_stands_beside_it(kind, few):
    together = damage(kind, few)
    np.testing.assert_array_equal(damage(kind, few, rows=[4, 0]), together[[4, 0]])


@pytest.mark.parametrize("kind", ["noise", "occlusion", "typos", "shuffled_words"])
def test_another_seed_is_other_damage(kind, few):
    damages = [damage(kind, few, level=1, seed=seed) for seed in (0, 1)]
    assert (damages[0] != damages[1]).any()


def test_levels_say_what_was_done():
    assert DAMAGES["blur"][1].levels == ["0%", "1%", "2%", "3%", "4%", "5%"]
    assert DAMAGES["jpeg"][1].levels == ["none", "50", "30", "20", "10", "5"]
