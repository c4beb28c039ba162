import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.matching import BatchRecall, MatchingLoss
from mmkd_tf.distill.objectives import objective
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.training import Recipe, distill, train
from mmkd_tf.evaluate.retrieval import first_agreement
from mmkd_tf.losses.pairs import affinity_loss, matching_loss
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.seeding import seeded
from mmkd_tf.models.two_tower import build_two_tower_student, build_two_tower_teacher

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
            "image": Image(16),
            "text": Text(["<pad>", "<unk>", *"abcdefgh"], length=2),
        },
        task="retrieval",
    )


@pytest.fixture(scope="module")
def teacher(dataset):
    model = seeded(build_two_tower_teacher(dataset, embedding_dim=8), seed=0)
    return train(model, dataset, Recipe(epochs=8, batch_size=16))


def test_the_keras_loss_is_the_mean_of_the_function_and_survives_saving():
    rng = np.random.default_rng(0)
    pairs, items = rng.normal(size=(6, 8)).astype("float32"), np.array([0, 1, 1, 2, 3, 4])
    values = np.asarray(matching_loss(pairs=pairs, items=items))
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(MatchingLoss())
    )
    assert float(loss(items, pairs)) == pytest.approx(values.mean(), rel=1e-5)
    assert float(loss(items[:, None], pairs)) == pytest.approx(values.mean(), rel=1e-5)
    weights = np.array([1.0, 0, 0, 2, 0, 0])
    weighted = float(loss(items, pairs, sample_weight=weights))
    assert weighted == pytest.approx((values * weights).mean(), rel=1e-5)


def test_the_metric_counts_what_is_among_ten_and_equals_against_it():
    points = np.stack([np.cos(np.arange(24) / 4), np.sin(np.arange(24) / 4)], axis=1)
    metric = BatchRecall()
    metric.update_state(np.arange(24), np.concatenate([points, points], axis=1))
    metric.update_state(np.arange(24), np.ones([24, 4]))
    assert float(metric.result()) == 0.5
    metric.reset_state()
    metric.update_state(np.zeros(24, int), np.ones([24, 4]))  # all are right for each other
    assert float(metric.result()) == 1


def test_a_student_is_distilled_live_or_from_what_was_kept(dataset, teacher, tmp_path):
    recipe = Recipe(epochs=10, batch_size=16, learning_rate=5e-3)
    test = dataset.splits["test"]
    said = np.asarray(teacher(dict(test.inputs)))
    cache = cache_soft_targets(
        teacher=teacher, dataset=dataset, folder=tmp_path / "kept", views=10, seed=recipe.seed
    )
    students = []
    for source in (teacher, cache):
        student = seeded(build_two_tower_student(dataset, embedding_dim=8), seed=1)
        before = first_agreement(
            teacher_pairs=said, student_pairs=np.asarray(student(dict(test.inputs)))
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
        values = affinity_loss(teacher_logits=said, student_logits=students[-1], temperature=1.0)
        assert np.mean(values) < 0.5
        # Items of one word lie on one point, so what is first among them is chance.
        assert before < 1
    np.testing.assert_allclose(students[0], students[1], atol=1e-2)


def test_the_objective_is_for_pairs(dataset):
    goal = objective(dataset)
    assert isinstance(goal.loss, MatchingLoss) and goal.soft_target_loss is affinity_loss
    assert [metric.name for metric in goal.metrics()] == ["batch_recall_at_10"]
