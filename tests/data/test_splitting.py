import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_tf.data.splitting import check_fractions, stratified_split

FRACTIONS = {"test": 0.15, "validation": 0.15}
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


@pytest.mark.parametrize(
    "fractions, message",
    [
        ({"test": 0}, "`test`: a fraction above 0 .* Received: test=0"),
        ({"test": 1.0}, "Received: test=1.0"),
        ({"test": float("nan")}, "Received: test=nan"),
        ({"test": -1, "validation": 2}, "(?s)test=-1.*validation=2"),
        ({"test": 0.5, "validation": 0.5}, "`test`, `validation`: fractions that leave rows"),
    ],
)
def test_impossible_fractions_are_errors(fractions, message):
    with pytest.raises(ValueError, match=message):
        check_fractions(fractions)
