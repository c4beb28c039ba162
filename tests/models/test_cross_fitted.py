"""Several heads on the same features, and which of them answers a row."""

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector
from mmkd_tf.models.builder import build_teacher
from mmkd_tf.models.cross_fitted import cross_fitted_teacher, fold_weights, heads_of
from mmkd_tf.models.seeding import seeded

ROWS = np.random.default_rng(0).normal(size=[4, 5]).astype(np.float32)
WEIGHTS = np.float32([[1, 0, 0], [0, 1, 0], [1 / 3] * 3, [0.5, 0, 0.5]])
GIVEN = {"image": ROWS, "text": ROWS[:, :2], "fold": WEIGHTS}


def dataset(**options):
    inputs = {"image": ROWS, "text": ROWS[:, :2]}
    labels = np.zeros(4, np.int32)
    forms = {f"teacher/{n}": FeatureVector(n, x.shape[1], "numbers") for n, x in inputs.items()}
    return Dataset(
        name="numbers",
        splits=dict.fromkeys(("train", "validation", "test"), Examples(inputs, labels)),
        class_names=["x", "y"],
        modalities=forms,
        **options,
    )


@pytest.fixture(scope="module")
def teacher():
    return seeded(cross_fitted_teacher(dataset(), folds=3), seed=0)


def test_the_answer_is_the_weighted_mean_of_the_heads(teacher):
    assert [head.name for head in heads_of(teacher)] == ["head_0", "head_1", "head_2"]
    features = {name: GIVEN[name] for name in ("image", "text")}
    heads = np.stack([head.predict(features, verbose=0) for head in heads_of(teacher)], axis=1)
    assert heads.shape == (4, 3, 2)
    expected = (heads * WEIGHTS[:, :, None]).sum(1)
    found = teacher.predict(GIVEN, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0], heads[0, 0], rtol=1e-6)


def test_seeds_give_each_head_weights_of_its_own(teacher):
    again = seeded(cross_fitted_teacher(dataset(), folds=3), seed=0)
    for head, same in zip(heads_of(teacher), heads_of(again), strict=True):
        for ours, theirs in zip(head.get_weights(), same.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    kernels = [head.get_layer("logits").get_weights()[0] for head in heads_of(teacher)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(kernels[a] - kernels[b]).min() > 0


def test_goes_through_a_file(teacher, tmp_path):
    teacher.save(tmp_path / "teacher.keras")
    back = keras.saving.load_model(tmp_path / "teacher.keras", compile=False)
    assert len(heads_of(back)) == 3
    expected = teacher.predict(GIVEN, verbose=0)
    np.testing.assert_allclose(back.predict(GIVEN, verbose=0), expected, atol=1e-6)


def test_reads_its_features_by_name_and_some_inputs_where_asked(teacher):
    assert sorted(teacher.input) == ["fold", "image", "text"]
    read = keras.Model(teacher.input, teacher.get_layer("image_features").output)
    np.testing.assert_array_equal(read.predict(GIVEN, verbose=0), ROWS)
    one = cross_fitted_teacher(dataset(), folds=2, inputs=["text"])
    assert sorted(one.input) == ["fold", "text"] and one.input["fold"].shape == (None, 2)


def test_another_teacher_has_no_heads():
    assert heads_of(build_teacher(dataset())) == []


def test_rows_that_no_head_has_seen_are_answered_by_all():
    found = fold_weights(np.array([1, -1, 0]), 2)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 1], [0.5, 0.5], [1, 0]])
