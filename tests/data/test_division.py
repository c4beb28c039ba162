import numpy as np

from mmkd_tf.data.division import divide, quantile_bins

FRACTIONS = {"test": 0.2, "validation": 0.2}


def test_bins_are_quantiles():
    targets = np.random.default_rng(0).exponential(size=[200, 1])
    bins = quantile_bins(targets, np.arange(200))
    assert np.bincount(bins).tolist() == [20] * 10
    order = np.argsort(targets[:, 0])
    assert (np.diff(bins[order]) >= 0).all()
    assert quantile_bins(targets[:9], np.arange(9)).tolist() == [0] * 9


def test_units_of_targets_do_not_matter_for_bins():
    targets = np.random.default_rng(0).normal(size=[100, 2])
    bins = quantile_bins(targets, np.arange(100))
    np.testing.assert_array_equal(bins, quantile_bins(targets * [1e6, 1], np.arange(100)))


def test_numbers_are_alike_in_all_splits():
    values = np.random.default_rng(0).exponential(size=300)
    splits = divide(
        [(value,) for value in values], range(300), task="regression", fractions=FRACTIONS, seed=0
    )
    assert [len(rows) for rows in splits.values()] == [180, 60, 60]
    for rows in splits.values():
        quartiles = np.quantile(values[rows], [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quartiles, np.quantile(values, [0.25, 0.5, 0.75]), rtol=0.2)


def test_the_same_content_stays_together_whatever_its_label():
    contents = [number // 2 for number in range(120)]
    for task, labels in {
        "regression": [(float(number),) for number in range(120)],
        "multi_label": [("a",) if number % 2 else ("a", "b") for number in range(120)],
    }.items():
        splits = divide(labels, contents, task=task, fractions=FRACTIONS, seed=0)
        groups = [{contents[row] for row in rows} for rows in splits.values()]
        assert sum(map(len, groups)) == 60 and all(groups)


def test_the_same_content_in_another_class_is_another_example():
    labels = ["a", "b"] * 10
    splits = divide(labels, ["same"] * 20, task="single_label", fractions=FRACTIONS, seed=0)
    assert sum(map(len, splits.values())) == 20
