import numpy as np

from mmkd_tf.data.iterative_split import iterative_split

FRACTIONS = {"test": 0.15, "validation": 0.15}


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


def test_the_seed_makes_the_choice():
    labels = random_labels()
    first, again, other = (
        iterative_split(labels, fractions=FRACTIONS, seed=seed)["test"].tolist()
        for seed in (3, 3, 4)
    )
    assert first == again != other


def test_groups_stay_together():
    labels = np.repeat(random_labels(100), 3, axis=0)
    groups = np.repeat(np.arange(100), 3)
    splits = iterative_split(labels, fractions=FRACTIONS, seed=0, groups=groups)
    held = [set(groups[rows]) for rows in splits.values()]
    assert sum(map(len, held)) == 100
