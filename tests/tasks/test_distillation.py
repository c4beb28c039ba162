"""Distillation in each task, with the defaults of its loss on the labels."""

import keras
import numpy as np
import pytest

from mmkd_tf import losses
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.training import Recipe, distill, train
from mmkd_tf.losses.pairs import affinity_loss
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.builder import build_student, build_teacher
from mmkd_tf.models.seeding import seeded
from mmkd_tf.tasks import find_task, task_of_loss
from mmkd_tf.tasks.regression import ScaledSquaredError

BINARY = keras.losses.BinaryCrossentropy(from_logits=True)
X = {"image": np.random.default_rng(0).normal(size=[32, 4]).astype("float32")}


def model(units, outputs=2, seed=0):
    inputs = {"image": keras.Input([4], name="image")}
    initial = keras.initializers.GlorotUniform(seed=seed)
    hidden = keras.layers.Dense(units, "relu", kernel_initializer=initial)(inputs["image"])
    return keras.Model(inputs, keras.layers.Dense(outputs, kernel_initializer=initial)(hidden))


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (BINARY, (X["image"][:, :2] > 0).astype("float32")),
        (ScaledSquaredError([2.0, 0.5]), X["image"][:, :2] * [2, 0.5]),
        (keras.losses.MeanSquaredError(), X["image"][:, :1]),
    ],
)
def test_a_student_learns_labels_and_numbers(loss, labels):
    student, teacher = model(4, labels.shape[1]), model(32, labels.shape[1], seed=1)
    teacher.compile(keras.optimizers.Adam(0.05), loss)
    teacher.fit(X, labels, epochs=20, verbose=0)
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(keras.optimizers.Adam(0.05), loss)
    history = distiller.fit(X, labels, epochs=20, verbose=0).history
    (metric,) = task_of_loss(loss).metrics()
    assert set(history) == {"loss", "hard_label_loss", "soft_target_loss", metric.name}
    for name in ("hard_label_loss", "soft_target_loss"):
        assert history[name][-1] < 0.5 * history[name][0]


@pytest.mark.parametrize("loss", [BINARY, keras.losses.MeanSquaredError()])
@pytest.mark.parametrize("soft", [losses.soft_target_loss, losses.dist_loss, losses.decoupled_loss])
def test_classes_of_a_teacher_need_classes_of_labels(loss, soft):
    distiller = Distiller(student=model(2), teacher=model(3))
    with pytest.raises(ValueError, match="`terms`: with .* not one of several classes"):
        distiller.compile(loss=loss, terms=[SoftTargets(loss=soft)])


def test_numbers_are_no_probabilities():
    distiller = Distiller(student=model(2), teacher=model(3))
    terms = [SoftTargets(loss=losses.sigmoid_soft_target_loss)]
    with pytest.raises(ValueError, match="outputs are numbers"):
        distiller.compile(loss=keras.losses.Huber(), terms=terms)
    distiller.compile(loss=BINARY, terms=terms)


def test_one_logit_is_no_class():
    distiller = Distiller(student=model(2, 1), teacher=model(3, 1))
    distiller.compile(terms=[SoftTargets(None, loss=losses.squared_loss)])
    with pytest.raises(ValueError, match="`student`: two logits or more"):
        distiller.fit(X, np.zeros(32, "int32"), verbose=0)


COLOURS = np.array([[r, g, b] for r in (40, 220) for g in (40, 220) for b in (40, 220)])


def examples(count, seed):
    """Pictures of eight colours, and for each a word; all of one colour are one item."""
    rng = np.random.default_rng(seed)
    items = rng.integers(0, 8, count).astype("int32")
    pictures = COLOURS[items][:, None, None] + rng.integers(-20, 20, [count, 16, 16, 3])
    texts = np.stack([items + 2, np.zeros(count)], axis=1).astype("int32")
    return Examples({"image": pictures.astype("uint8"), "text": texts}, items)


@pytest.fixture(scope="module")
def dataset():
    return Dataset(
        name="colours",
        splits={"train": examples(64, 0), "validation": examples(16, 1), "test": examples(16, 2)},
        class_names=[],
        modalities={
            "image": Image(height=16),
            "text": Text(vocabulary=["<pad>", "<unk>", *"abcdefgh"], length=2),
        },
        task="retrieval",
    )


@pytest.fixture(scope="module")
def teacher(dataset):
    model = seeded(build_teacher(dataset, embedding_dim=8), seed=0)
    return train(model, dataset, Recipe(epochs=8, batch_size=16))


def test_a_student_is_distilled_live_or_from_what_was_kept(dataset, teacher, tmp_path):
    recipe = Recipe(epochs=10, batch_size=16, learning_rate=5e-3)
    test = dataset.splits["test"]
    taught = np.asarray(teacher(dict(test.inputs)))
    cache = cache_soft_targets(
        teacher=teacher, dataset=dataset, folder=tmp_path / "kept", views=10, seed=recipe.seed
    )
    students = []
    for source in (teacher, cache):
        student = seeded(build_student(dataset, embedding_dim=8), seed=1)
        before = find_task("retrieval").agreement(
            teacher_outputs=taught, student_outputs=np.asarray(student(dict(test.inputs)))
        )
        distill(
            student=student,
            teacher=source,
            dataset=dataset,
            recipe=recipe,
            terms=[SoftTargets(1.0, 1.0, affinity_loss)],
            hard_label_weight=0.0,
        )
        students.append(np.asarray(student(dict(test.inputs))))
        values = affinity_loss(teacher_logits=taught, student_logits=students[-1], temperature=1.0)
        assert np.mean(values) < 0.5
        # Items of one word lie on one point, so what is first among them is chance.
        assert before < 1
    np.testing.assert_allclose(students[0], students[1], atol=1e-2)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("single_label", (losses.soft_target_loss, 2.0, 0.5)),
        ("multi_label", (losses.sigmoid_soft_target_loss, 4.0, 0.2)),
        ("regression", (losses.squared_loss, None, 0.2)),
        # Pairs are softened less and weigh more.
        ("retrieval", (losses.affinity_loss, 1.0, 1.0)),
        ("embedding", (losses.embedding_loss, None, 10.0)),
    ],
)
def test_defaults(task, expected):
    soft = find_task(task).soft_targets()
    assert (soft.loss, soft.temperature, soft.weight) == expected
    assert soft.hard_label_weight == 1 and soft.options == {}


def test_losses_of_the_same_kind_have_the_same_task():
    assert task_of_loss(BINARY).name == "multi_label"
    assert task_of_loss(keras.losses.Huber()).name == "regression"
    assert task_of_loss(keras.losses.CategoricalCrossentropy()).name == "single_label"
    assert task_of_loss(keras.losses.Hinge()).name == "single_label"  # not known to be another
    options = find_task("regression").soft_targets(ScaledSquaredError([2.0, 4.0])).options
    assert options == {"scale": [2.0, 4.0]}
