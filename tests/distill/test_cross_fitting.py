"""Each row is answered by a head that was trained without it."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector
from mmkd_tf.distill import cross_fitting
from mmkd_tf.distill.cross_fitting import head_recipe, train_heads, train_together, with_folds
from mmkd_tf.distill.training import Recipe
from mmkd_tf.models.cross_fitted import cross_fitted_teacher, heads_of, temperatures_of
from mmkd_tf.models.seeding import seeded

DIM, ROWS = 64, 48
NO_DECAY = (1e-3,)


def dataset(labels_of, *, rows=ROWS, task="single_label", seed=0):
    """Rows of noise, so wide that a head can learn any labels of them by heart."""
    rng = np.random.default_rng(seed)

    def examples(count):
        features = rng.normal(size=(count, DIM)).astype(np.float32) / 8
        return Examples({"text": np.ones([count, 1]), "teacher/text": features}, labels_of(count))

    return Dataset(
        name="noise",
        splits={"train": examples(rows), "validation": examples(12), "test": examples(12)},
        class_names=["x", "y"],
        modalities={
            "text": FeatureVector("text", 1, "nothing"),
            "teacher/text": FeatureVector("text", DIM, "noise"),
        },
        task=task,
    )


def random_labels(count, rng=np.random.default_rng(1)):  # noqa: B008
    return rng.integers(0, 2, count).astype(np.int32)


@pytest.fixture(scope="module")
def trained():
    data = with_folds(dataset(random_labels), 3, seed=0)
    teacher = seeded(cross_fitted_teacher(data, folds=3), seed=0)
    seen = data.seen_by(teacher=True)
    recipe = Recipe(epochs=60, batch_size=16, learning_rate=1e-2, augment=False)
    assert train_heads(teacher, seen, recipe=recipe, weight_decays=NO_DECAY) == {}
    return teacher, seen.splits["train"]


def right(logits, labels):
    return (np.asarray(logits).argmax(1) == labels).mean()


def test_one_head_alone_sees_all_rows_and_is_calibrated_on_validation():
    data = with_folds(dataset(random_labels), 1, seed=0)
    teacher = seeded(cross_fitted_teacher(data, folds=1), seed=0)
    seen = data.seen_by(teacher=True)
    recipe = Recipe(epochs=60, batch_size=16, learning_rate=1e-2, augment=False)
    train_heads(teacher, seen, recipe=recipe, weight_decays=NO_DECAY)
    train = seen.splits["train"]
    answers = teacher.predict(dict(train.inputs), verbose=0)
    assert right(answers, train.labels) > 0.95
    found = temperatures_of(teacher)
    assert found["single"] == found["joint"] > 2  # it is sure, and what it learnt is chance


def test_a_training_row_is_answered_by_a_head_that_has_not_seen_it(trained):
    teacher, train = trained
    answers = teacher.predict(dict(train.inputs), verbose=0)
    # There is nothing to learn: of rows not seen about a half is right, 0.5 +- 0.07.
    assert right(answers, train.labels) < 0.75
    own = train.inputs["fold"].argmax(1)
    for number, head in enumerate(heads_of(teacher)):
        logits = head.predict({"text": train.inputs["text"]}, verbose=0)
        assert right(logits[own != number], train.labels[own != number]) > 0.95
        given = logits[own == number] / temperatures_of(teacher)["single"]
        np.testing.assert_allclose(answers[own == number], given, rtol=1e-4)


def test_classes_are_spread_evenly_and_other_splits_are_answered_by_all():
    data = with_folds(dataset(lambda n: (np.arange(n) < n // 3).astype(np.int32)), 4, seed=3)
    train = data.splits["train"]
    own = train.inputs["teacher/fold"].argmax(1)
    np.testing.assert_array_equal(train.inputs["teacher/fold"].sum(1), 1)
    counts = [np.bincount(own[train.labels == label], minlength=4) for label in (0, 1)]
    np.testing.assert_array_equal(counts, [[8] * 4, [4] * 4])
    for split in ("validation", "test"):
        np.testing.assert_array_equal(data.splits[split].inputs["teacher/fold"], [[0.25] * 4] * 12)
    assert "fold" not in data.seen_by(teacher=False).modalities
    other = with_folds(dataset(random_labels), 4, seed=4).splits["train"]
    assert (other.inputs["teacher/fold"].argmax(1) != own).any()


def test_several_labels_and_numbers_are_dealt_out_too():
    labels = {
        "multi_label": lambda n: np.float32([[i % 2, 1] for i in range(n)]),
        "regression": lambda n: np.linspace(0, 1, 2 * n, dtype=np.float32).reshape(n, 2),
    }
    for task, labels_of in labels.items():
        data = with_folds(dataset(labels_of, rows=10, task=task), 3, seed=0)
        own = data.splits["train"].inputs["teacher/fold"].argmax(1)
        assert sorted(np.bincount(own)) == [3, 3, 4]


def test_the_weight_decay_of_the_least_validation_loss_is_taken(monkeypatch):
    trainings = []
    together = cross_fitting.train_together

    def watched(models, data, recipe, *, rows, weight_decays, class_weight):
        assert class_weight is None
        trainings.append((len(models), recipe.seed, [len(own) for own in rows], weight_decays))
        together(models, data, recipe, rows=rows, weight_decays=weight_decays)

    monkeypatch.setattr(cross_fitting, "train_together", watched)
    data = with_folds(dataset(random_labels), 2, seed=0)
    teacher = seeded(cross_fitted_teacher(data, folds=2), seed=0)
    before = [head.get_weights() for head in heads_of(teacher)]
    # What is learned by heart is sure of itself where it is wrong; little of it is better.
    recipe = Recipe(epochs=30, batch_size=16, learning_rate=1e-2, augment=False)
    decays = (1e-3, 10.0)
    losses = train_heads(
        teacher, data.seen_by(teacher=True), recipe=recipe, weight_decays=decays, seed=7
    )
    assert list(losses) == list(decays) and losses[10.0] < losses[1e-3]
    assert trainings[0] == (2, 7, [ROWS] * 2, decays)
    assert trainings[1] == (2, 7, [ROWS // 2] * 2, [10.0] * 2)
    for head, first in zip(heads_of(teacher), before, strict=True):
        assert np.abs(head.get_weights()[-2] - first[-2]).max() > 0


def test_heads_know_nothing_of_the_rows_that_they_answer():
    data = with_folds(dataset(random_labels), 3, seed=0)
    train = data.splits["train"]
    own = train.inputs["teacher/fold"].argmax(1)
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=1e-2, augment=False)

    def trained_heads():
        teacher = seeded(cross_fitted_teacher(data, folds=3), seed=0)
        seen = data.seen_by(teacher=True)
        train_heads(teacher, seen, recipe=recipe, weight_decays=NO_DECAY)
        return [head.get_weights() for head in heads_of(teacher)]

    before = trained_heads()
    train.labels[own == 1] = 1 - train.labels[own == 1]
    train.inputs["teacher/text"][own == 1] = 7.0
    changes = [
        max(np.abs(a - b).max() for a, b in zip(*weights, strict=True))
        for weights in zip(before, trained_heads(), strict=True)
    ]
    assert changes[1] < 1e-5 < 1e-2 < min(changes[0], changes[2])


def test_models_trained_together_are_those_trained_alone():
    data = with_folds(dataset(random_labels), 2, seed=0).seen_by(teacher=True).only(["text"])
    models = heads_of(seeded(cross_fitted_teacher(data, folds=2), seed=0))
    alone = [keras.models.clone_model(model) for model in models]
    for copy, model in zip(alone, models, strict=True):
        copy.set_weights(model.get_weights())
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=1e-2, augment=False)
    # Of unequal size, so that a batch may be smaller, and one model that decays at once.
    rows, decays = [np.arange(33), np.arange(5, 10)], [0.0, 20.0]
    train_together(models, data, recipe, rows=rows, weight_decays=decays)
    for copy, own, decay in zip(alone, rows, decays, strict=True):
        # As many steps for both.
        wide = replace(recipe, batch_size=-(-len(own) // 3))
        train_together([copy], data, wide, rows=[own], weight_decays=[decay])
    for copy, model in zip(alone, models, strict=True):
        for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    norms = [np.abs(model.get_weights()[0]).mean() for model in models]
    assert norms[1] < 0.7 * norms[0]


def test_few_rows_are_shown_more_often():
    assert head_recipe(64 * 100).epochs == cross_fitting.EPOCHS
    assert head_recipe(60).epochs == cross_fitting.LEAST_STEPS
    assert not head_recipe(60).augment


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_other_tasks_train_heads_too(task):
    def labels_of(count, rng=np.random.default_rng(2)):  # noqa: B008
        return rng.integers(0, 2, [count, 2]).astype(np.float32)

    data = with_folds(dataset(labels_of, task=task), 2, seed=0)
    seen = data.seen_by(teacher=True)
    teacher = seeded(cross_fitted_teacher(seen, folds=2), seed=0)
    recipe = Recipe(epochs=40, batch_size=16, learning_rate=1e-2, augment=False)
    train_heads(teacher, seen, recipe=recipe, weight_decays=NO_DECAY)
    train = seen.splits["train"]
    own = train.inputs["fold"].argmax(1)
    for number, head in enumerate(heads_of(teacher)):
        outputs = head.predict({"text": train.inputs["text"]}, verbose=0)
        score = data.task.score
        known, new = own != number, own == number
        learnt = score(labels=train.labels[known], outputs=outputs[known])
        assert learnt > 0.5 + score(labels=train.labels[new], outputs=outputs[new]) / 2


@pytest.mark.parametrize("counting", [0, 1])
def test_heads_lean_to_the_class_whose_labels_alone_count(counting):
    data = with_folds(dataset(random_labels), 2, seed=0)
    teacher, seen = seeded(cross_fitted_teacher(data, folds=2), seed=0), data.seen_by(teacher=True)
    recipe = Recipe(epochs=60, batch_size=16, learning_rate=3e-2, augment=False)
    options = {"recipe": recipe, "weight_decays": NO_DECAY}
    train_heads(teacher, seen, **options, class_weight=np.eye(2, dtype=np.float32)[counting])
    for head in heads_of(teacher):
        bias = head.get_layer("logits").bias.numpy()  # 0 at first
        assert bias[counting] - bias[1 - counting] > 0.4
