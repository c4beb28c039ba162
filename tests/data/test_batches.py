import numpy as np
import pytest

from mmkd_tf.data.batches import batches, drop_modalities, num_steps, training_batches
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
    assert 0.01 < np.mean(np.array(words) == 0) < 0.1  # absent
    words = [word for step in read(dataset, epochs=5, augment=False) for word in step[1]]
    assert 1 not in words


def test_a_share_of_the_examples_loses_one_modality_and_never_all():
    batch = {"image": np.ones([4000, 2, 2, 3], np.uint8), "text": np.ones([4000, 3], np.int32)}
    batch["text"][:1000] = 0
    seeds = np.stack([np.arange(4000), np.full(4000, 7)], 1).astype("int32")
    dropped = drop_modalities(batch, seeds, rate=0.2)
    image, text = (dropped[name].numpy().reshape(4000, -1).any(1) for name in ("image", "text"))
    assert image[:1000].all()
    assert (image | text).all()
    for there in (image, text):
        assert 0.07 < 1 - there[1000:].mean() < 0.13
    again = drop_modalities(batch, seeds, rate=0.2)
    np.testing.assert_array_equal(dropped["text"], again["text"])


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
