from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.data.batches import batches, num_steps, training_batches
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text


def examples(count, first=1):
    """Pictures of one colour and texts of one word, so that each row can be told apart."""
    numbers = np.arange(first, first + count)
    return Examples(
        inputs={
            "image": np.tile(numbers[:, None, None, None], [1, 8, 8, 3]).astype(np.uint8),
            "text": np.stack([numbers + 1, np.zeros(count)], 1).astype("int32"),
        },
        labels=(numbers % 2).astype("int32"),
    )


@pytest.fixture
def dataset():
    words = ["<pad>", "<unk>", *map(str, range(40))]
    return Dataset(
        name="numbers",
        splits={"train": examples(10), "validation": examples(4, 20), "test": examples(5, 30)},
        class_names=["even", "odd"],
        modalities={"image": Image(8), "text": Text(words, length=2)},
    )


def read(dataset, **arguments):
    return [
        (x["image"][:, 0, 0, 0].numpy().tolist(), x["text"][:, 0].numpy().tolist(), y.numpy())
        for x, y in training_batches(dataset, batch_size=4, **arguments)
    ]


def test_each_epoch_has_every_example_once_in_its_own_order(dataset):
    steps = read(dataset, epochs=3, augment=False)
    assert len(steps) == 3 * num_steps(dataset, 4) == 9
    epochs = [sum((step[0] for step in steps[i : i + 3]), []) for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(1, 11)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_modalities_and_labels_stay_together(dataset):
    for images, words, labels in read(dataset, epochs=2, augment=False):
        assert [image + 1 for image in images] == words
        np.testing.assert_array_equal(np.array(images) % 2, labels)


def test_order_and_views_follow_from_seed_and_epoch(dataset):
    def same(a, b):
        pairs = zip(a, b, strict=True)
        return all(x[:2] == y[:2] and (x[2] == y[2]).all() for x, y in pairs)

    assert same(read(dataset, epochs=2, seed=3), read(dataset, epochs=2, seed=3))
    assert not same(read(dataset, epochs=2, seed=3), read(dataset, epochs=2, seed=4))
    resumed = read(dataset, epochs=3, first_epoch=1, seed=3)
    assert same(read(dataset, epochs=3, seed=3)[3:], resumed)


def test_augmentation_changes_words_of_some_epochs_only_when_asked(dataset):
    words = [word for step in read(dataset, epochs=20) for word in step[1]]
    assert 0.05 < np.mean(np.array(words) == 1) < 0.3
    assert 0 not in words  # to leave out a modality is the model's own part
    words = [word for step in read(dataset, epochs=5, augment=False) for word in step[1]]
    assert 1 not in words


def test_evaluation_batches_keep_the_order(dataset):
    numbers = [x["image"][:, 0, 0, 0].numpy() for x, _ in batches(dataset, "test", batch_size=2)]
    assert np.concatenate(numbers).tolist() == [30, 31, 32, 33, 34]


def test_single_examples_can_be_batched_by_keras_users(dataset):
    x, y = next(iter(dataset.train.batch(10)))
    assert x["image"].shape == (10, 8, 8, 3) and x["image"].dtype == "uint8"
    assert x["text"].shape == (10, 2) and y.shape == (10,)
    assert len(dataset.validation) == 4


def test_repr_tells_what_is_in_it(dataset):
    text = repr(dataset)
    assert "numbers: 10 train, 4 validation, 5 test" in text
    assert "2 classes" in text and "8 x 8 pixels" in text and "42 words" in text
    assert dataset.class_counts["train"] == {"even": 5, "odd": 5}
    assert dataset.sizes == {"train": 10, "validation": 4, "test": 5}


def test_refuses_missing_splits():
    with pytest.raises(ValueError, match="`splits`: one entry for each of train, validation, test"):
        Dataset(name="x", splits={"train": examples(3)}, class_names=["a"], modalities={})


def said(dataset, *, views=2, **changes):
    """Soft targets that tell the view and the example that they are for."""

    def reader():
        return lambda view, index: {
            "logits": tf.cast(tf.stack([tf.fill(tf.shape(index), view), index], 1), tf.float32)
        }

    made = {"seed": 0, "augment": True, "num_examples": 10, "fingerprint": dataset.fingerprint()}
    return SimpleNamespace(
        views=views,
        reader=reader,
        marker=lambda teacher_name: f"{teacher_name}/cache",
        **{**made, **changes},
    )


def test_soft_targets_come_with_their_examples_and_views_take_turns(dataset):
    arguments = {"batch_size": 4, "augment": False, "soft_targets": said(dataset, augment=False)}
    steps = list(training_batches(dataset, epochs=5, **arguments))
    views = [x["teacher/logits"][0, 0].numpy() for x, _ in steps[::3]]
    assert views == [0, 1, 0, 1, 0]
    for x, _ in steps:
        # The pictures' colour is their index, from 1.
        np.testing.assert_array_equal(x["teacher/logits"][:, 1], x["image"][:, 0, 0, 0] - 1)
    resumed = list(training_batches(dataset, first_epoch=3, epochs=5, **arguments))
    for (x, y), (expected_x, expected_y) in zip(resumed, steps[9:], strict=True):
        np.testing.assert_array_equal(x["teacher/logits"], expected_x["teacher/logits"])
        np.testing.assert_array_equal(y, expected_y)


def test_views_of_the_examples_take_turns_too_but_not_their_order(dataset):
    cached = read(dataset, epochs=3, soft_targets=said(dataset, views=1))
    live = read(dataset, epochs=1)
    orders = [sum((step[2].tolist() for step in cached[i : i + 3]), []) for i in (0, 3, 6)]
    assert orders[0] != orders[1] and orders[1] != orders[2]
    assert [step[:2] for step in cached[:3]] == [step[:2] for step in live]

    def seen(steps):
        return sorted((a, b) for step in steps for a, b in zip(*step[:2], strict=True))

    assert seen(cached[:3]) == seen(cached[3:6]) == seen(cached[6:])
    live = read(dataset, epochs=3)
    assert len({str(seen(live[i : i + 3])) for i in (0, 3, 6)}) > 1


def test_several_teachers_come_by_name(dataset):
    caches = {"large": said(dataset), "old": said(dataset)}
    x, _ = next(iter(training_batches(dataset, epochs=1, soft_targets=caches)))
    kept = ["large/cache", "large/logits", "old/cache", "old/logits"]
    assert sorted(x) == ["image", *kept, "text"]
    x, _ = next(iter(training_batches(dataset, epochs=1, soft_targets=list(caches.values()))))
    assert set(x) > {"image", "teacher_0/logits", "teacher_1/logits", "text"}


def test_soft_targets_of_something_else_are_refused_with_all_reasons(dataset):
    caches = {
        "a": said(dataset, seed=5, num_examples=9),
        "b": said(dataset, fingerprint="of other data", views=3),
        "c": said(dataset, augment=False),
    }
    with pytest.raises(ValueError) as error:
        training_batches(dataset, epochs=1, soft_targets=caches)
    for reason in (
        "`soft_targets`",
        "'a' has seed=5, not 0",
        "'a' has num_examples=9, not 10",
        "'b' is of other data",
        "'c' has augment=False, not True",
        "views={'a': 2, 'b': 3, 'c': 2}",
    ):
        assert reason in str(error.value)


def test_the_seed_of_soft_targets_does_not_matter_without_augmentation(dataset):
    cache = said(dataset, views=1, augment=False, seed=None)
    batches = training_batches(dataset, epochs=1, seed=3, augment=False, soft_targets=cache)
    assert "teacher/logits" in next(iter(batches))[0]
