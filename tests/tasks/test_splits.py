import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.splits import iterative_split, quantile_bins, stratified_split

FRACTIONS = {"test": 0.15, "validation": 0.15}
FIFTHS = {"test": 0.2, "validation": 0.2}
SPLITS = ("train", "test", "validation")


@settings(deadline=None)
@given(
    labels=st.lists(st.sampled_from("abcd"), min_size=1, max_size=60),
    test=st.floats(0.01, 0.6),
    validation=st.floats(0.01, 0.39),
    seed=st.integers(0, 2**31),
)
def test_splits_are_disjoint_complete_seeded_and_hold_every_class(labels, test, validation, seed):
    fractions = {"test": test, "validation": validation}
    split = stratified_split(labels, fractions=fractions, seed=seed)
    assert sorted(np.concatenate(list(split.values()))) == list(range(len(labels)))
    again = stratified_split(labels, fractions=fractions, seed=seed)
    assert all(np.array_equal(split[name], again[name]) for name in SPLITS)
    labels = np.array(labels)
    for label in set(labels):
        present = [name for name in SPLITS if label in labels[split[name]]]
        # One row can only be trained on, two reach the test split, three all splits.
        assert present == list(SPLITS[: np.sum(labels == label)])


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(0, 99))
def test_groups_stay_on_one_side(groups, seed):
    groups = np.array(groups)
    split = stratified_split(groups % 2, fractions=FRACTIONS, seed=seed, groups=groups)
    sides = [set(groups[rows]) for rows in split.values()]
    assert sum(map(len, sides)) == len(set(groups))
    for label in set(groups % 2):
        num_groups = len({group for group in groups if group % 2 == label})
        present = [any(group % 2 == label for group in side) for side in sides]
        assert sum(present) == min(3, num_groups)


def test_fractions_are_those_of_each_class():
    labels = np.repeat(["a", "b"], [100, 20])
    split = stratified_split(labels, fractions={"test": 0.2, "validation": 0.1}, seed=0)
    counts = {name: [np.sum(labels[rows] == c) for c in "ab"] for name, rows in split.items()}
    assert counts == {"train": [70, 14], "test": [20, 4], "validation": [10, 2]}


def test_another_seed_gives_another_split():
    splits = [stratified_split([0] * 50, fractions=FRACTIONS, seed=seed) for seed in (0, 1)]
    assert not np.array_equal(splits[0]["test"], splits[1]["test"])


def test_large_groups_stay_in_training():
    groups = [0] * 50 + list(range(1, 51))
    split = stratified_split([0] * 100, fractions=FRACTIONS, seed=3, groups=groups)
    assert {name: len(rows) for name, rows in split.items()} == {
        "train": 70,
        "test": 15,
        "validation": 15,
    }
    assert set(range(50)) <= set(split["train"])


def random_labels(count=400, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random([count, 5]) < [0.5, 0.3, 0.1, 0.05, 0.02]).astype(int)


def test_every_row_is_somewhere_and_the_shares_are_kept():
    labels = random_labels()
    splits = iterative_split(labels, fractions=FRACTIONS, seed=0)
    assert list(splits) == ["train", "test", "validation"]
    np.testing.assert_array_equal(np.sort(np.concatenate([*splits.values()])), np.arange(400))
    shares = {"train": 0.7, **FRACTIONS}
    for split, rows in splits.items():
        assert abs(len(rows) - 400 * shares[split]) <= 8
        # Of each label, however rare, as many as its share says but for one or two.
        wanted = labels.sum(axis=0) * shares[split]
        assert np.abs(labels[rows].sum(axis=0) - wanted).max() <= 2


def test_is_closer_than_chance():
    labels = random_labels()

    def distance(splits):
        return max(
            abs(labels[splits[split]].sum(axis=0) - share * labels.sum(axis=0)).max()
            for split, share in FRACTIONS.items()
        )

    order = np.random.default_rng(1).permutation(400)
    chance = {"test": order[:60], "validation": order[60:120]}
    assert distance(iterative_split(labels, fractions=FRACTIONS, seed=1)) < distance(chance)


def test_the_only_row_of_a_label_is_for_training():
    labels = np.zeros([40, 2], int)
    labels[:20, 0] = 1
    labels[7, 1] = 1
    for seed in range(5):
        assert 7 in iterative_split(labels, fractions=FRACTIONS, seed=seed)["train"]


def test_the_seed_makes_the_choice_of_labels():
    labels = random_labels()
    first, again, other = (
        iterative_split(labels, fractions=FRACTIONS, seed=seed)["test"].tolist()
        for seed in (3, 3, 4)
    )
    assert first == again != other


def test_groups_of_several_labels_stay_together():
    labels = np.repeat(random_labels(100), 3, axis=0)
    groups = np.repeat(np.arange(100), 3)
    splits = iterative_split(labels, fractions=FRACTIONS, seed=0, groups=groups)
    held = [set(groups[rows]) for rows in splits.values()]
    assert sum(map(len, held)) == 100


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
    splits = find_task("regression").divide(
        [(value,) for value in values], range(300), fractions=FIFTHS, seed=0
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
        splits = find_task(task).divide(labels, contents, fractions=FIFTHS, seed=0)
        groups = [{contents[row] for row in rows} for rows in splits.values()]
        assert sum(map(len, groups)) == 60 and all(groups)


def test_the_same_content_in_another_class_is_another_example():
    labels = ["a", "b"] * 10
    splits = find_task("single_label").divide(labels, ["same"] * 20, fractions=FIFTHS, seed=0)
    assert sum(map(len, splits.values())) == 20
