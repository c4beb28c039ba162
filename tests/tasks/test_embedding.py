"""Embedding: identities that no two splits share, and what training adds and leaves behind."""

import keras
import numpy as np
import pandas as pd
import pytest

from mmkd_tf.config import make_config
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.table import from_table
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.training import Recipe, distill, terms_of, train
from mmkd_tf.models.builder import build_student, build_teacher
from mmkd_tf.models.seeding import seeded
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.identities import AngularMargin, BatchRankOne, with_identities

TASK = find_task("embedding")
WORDS = "red green blue big small round flat old new hot cold wet dry soft hard thin".split()


def table(num_identities=24, each=4, seed=0):
    """Texts of an identity have two words in common, and one more."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(num_identities):
        own = rng.permutation(WORDS)[:2]
        for other in rng.permutation(WORDS)[:each]:
            rows.append((f"{own[0]} {own[1]} {other} {number % 3}", f"person {number}"))
    return pd.DataFrame(rows, columns=["text", "label"])


def read(rows, **arguments):
    options = DatasetOptions(task="embedding", seed=0)
    return from_table(rows, image=None, options=options, **arguments)


@pytest.fixture(scope="module")
def dataset():
    return read(table())


def test_no_identity_is_in_two_splits(dataset):
    seen = [set(examples.labels.tolist()) for examples in dataset.splits.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 24
    assert dataset.class_names == [] and dataset.sizes["train"] + 2 * 4 <= 96
    assert "identities: " in repr(dataset) and " in test" in repr(dataset)


def test_an_identity_of_a_given_table_that_training_has_too_is_told():
    rows = table()
    mine, theirs = rows[rows.index < 48], rows[rows.index >= 44]
    with pytest.raises(ValueError, match=r"identity 'person 11': train rows have it too"):
        read(mine, test=theirs)


def test_what_has_no_identities_to_compare_is_refused():
    alone = table(each=1)
    with pytest.raises(ValueError, match="24 identities, 0 of them with two rows or more"):
        read(alone)
    with pytest.raises(ValueError, match="1 identities"):
        read(table(num_identities=1))


def test_those_that_share_a_content_stay_together_and_sizes_are_spread():
    rows = pd.concat([table(20), table(20, each=1, seed=1)], ignore_index=True)
    rows.loc[80:, "label"] = [f"single {i}" for i in range(20)]
    rows.loc[[0, 80], "text"] = "red big flat"
    data = read(rows)
    held = {k: np.unique(e.labels, return_counts=True)[1] for k, e in data.splits.items()}
    assert all((counts == 1).any() and (counts == 4).any() for counts in held.values())
    (split,) = (k for k, e in data.splits.items() if 0 in e.labels)
    assert 20 in data.splits[split].labels  # the first single identity


def test_a_finished_model_has_no_identities_and_gives_unit_length(dataset):
    model = seeded(build_teacher(dataset, embedding_dim=8), seed=0)
    weights = len(model.weights)
    recipe = Recipe(epochs=4, batch_size=16)
    train(model, dataset, recipe)
    assert len(model.weights) == weights and model.output_shape == (None, 8)
    inputs = dict(dataset.splits["test"].inputs)
    np.testing.assert_allclose(np.linalg.norm(model(inputs), axis=1), 1, atol=1e-5)
    nothing = {name: np.zeros_like(values) for name, values in inputs.items()}
    assert not np.any(model(nothing))


def test_directions_are_learnt_and_the_loss_knows_unseen_identities():
    inputs = keras.Input([3], name="x")
    model = keras.Model({"x": inputs}, keras.layers.Dense(3, use_bias=False)(inputs))
    trained, loss = with_identities(model, np.array([4, 9, 4]), seed=1)
    assert [w.path.split("/")[-1] for w in trained.trainable_weights][-1] == "directions"
    embeddings = np.eye(3, dtype="float32")
    cosines, places = loss.identities.cosines(embeddings, np.array([9, 5, -1]))
    assert places.numpy().tolist() == [1, -1, -1] and np.abs(cosines).max() <= 1 + 1e-6
    assert cosines.shape == (3, 2)
    # Identities without a direction are told apart within the batch.
    alone = float(AngularMargin()(np.array([5, 5, 6]), embeddings))
    assert float(loss(np.array([5, 5, 6]), embeddings)) == pytest.approx(alone)
    before = loss.identities.directions.numpy().copy()
    trained.compile("adam", loss=loss, metrics=TASK.metrics())
    trained.fit({"x": embeddings}, np.array([4, 9, 4]), verbose=0)
    assert np.abs(loss.identities.directions.numpy() - before).max() > 1e-5


def test_a_loss_is_saved_with_its_numbers():
    loss = AngularMargin(0.3, 16.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.margin, again.scale, again.identities) == (0.3, 16.0, None)
    with pytest.raises(ValueError, match="`margin`: radians"):
        AngularMargin(4.0)


def test_a_student_learns_from_what_was_kept_of_its_teacher(dataset, tmp_path):
    recipe = Recipe(epochs=6, batch_size=16, learning_rate=5e-3)
    teacher = train(seeded(build_teacher(dataset, embedding_dim=8), seed=0), dataset, recipe)
    cache = cache_soft_targets(
        teacher=teacher, dataset=dataset, folder=tmp_path / "kept", views=2, seed=recipe.seed
    )
    student = seeded(build_student(dataset, embedding_dim=8), seed=1)
    inputs = dict(dataset.splits["train"].inputs)
    taught, before = np.asarray(teacher(inputs)), np.asarray(student(inputs))
    settings = make_config({}).distillation.for_task(TASK)
    terms = terms_of(settings, dataset, inputs=["text"])
    distill(student=student, teacher=cache, dataset=dataset, recipe=recipe, terms=terms)
    after = np.asarray(student(inputs))
    assert np.mean(np.sum(taught * after, axis=1)) > np.mean(np.sum(taught * before, axis=1)) + 0.2
    assert "identities" not in [layer.name for layer in student.layers]


def test_a_distiller_has_the_task_s_defaults():
    models = [
        keras.Sequential([keras.Input([3]), keras.layers.Dense(4, use_bias=False)])
        for _ in range(2)
    ]
    distiller = Distiller(student=models[0], teacher=models[1])
    distiller.compile("adam", loss=AngularMargin())
    x, y = np.random.default_rng(0).normal(size=(8, 3)), np.array([0, 0, 1, 1, 2, 2, 3, 4])
    assert set(distiller.fit(x, y, verbose=0).history) == {
        "batch_rank_1",
        "hard_label_loss",
        "loss",
        "soft_target_loss",
    }


def test_the_metric_leaves_out_those_alone_and_counts_ties_as_missed():
    metric = BatchRankOne()
    metric.update_state(np.array([0, 0, 1, 1, 2]), np.eye(3)[[0, 0, 1, 2, 2]])
    assert float(metric.result()) == 0.5  # of the identity 1 none is found
    metric.reset_state()
    metric.update_state(np.array([0, 0, 1, 1]), np.ones([4, 2]))
    assert float(metric.result()) == 0


def test_examples_alone_with_their_identity_do_not_count():
    labels, outputs = np.array([0, 0, 1, 1, 2]), np.eye(3)[[0, 0, 1, 1, 2]]
    assert TASK.score(labels=labels, outputs=outputs) == 1
    assert TASK.example_scores(labels=labels, outputs=outputs)[-1] == 0
    assert TASK.score(labels=np.arange(3), outputs=np.eye(3)) == 0
    answers = TASK.answers(labels=labels, outputs=outputs, names=[])
    assert answers.words[0] == "identity found at rank 1" and "alone" in answers.words[-1]
    assert not answers.mistakes.any()
