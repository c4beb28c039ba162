import numpy as np
import pytest

from mmkd_tf.data.batches import training_batches
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.views import view_batches
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)

    def examples(count):
        pictures = rng.integers(0, 256, [count, 8, 8, 3]).astype(np.uint8)
        texts = rng.integers(2, 12, [count, 4]).astype("int32")
        return Examples({"image": pictures, "text": texts}, np.arange(count, dtype="int32"))

    return Dataset(
        name="noise",
        splits={"train": examples(30), "validation": examples(2), "test": examples(2)},
        class_names=list(map(str, range(30))),
        modalities={
            "image": Image(8),
            "text": Text(["<pad>", "<unk>", *map(str, range(10))], length=4),
        },
    )


def in_order(batches):
    """The examples by label, which is their index here."""
    parts = [({name: values.numpy() for name, values in x.items()}, y.numpy()) for x, y in batches]
    labels = np.concatenate([y for _, y in parts])
    order = np.argsort(labels)
    return {n: np.concatenate([x[n] for x, _ in parts])[order] for n in parts[0][0]}, labels


@pytest.mark.parametrize("seed", [0, 70_000])
def test_a_view_is_what_the_epoch_of_its_number_shows(dataset, seed):
    for epoch in (0, 2):
        arguments = {"seed": seed, "batch_size": 7}
        view, labels = in_order(
            view_batches(dataset, first_view=epoch, views=epoch + 1, **arguments)
        )
        shown, shuffled = in_order(
            training_batches(dataset, first_epoch=epoch, epochs=epoch + 1, **arguments)
        )
        np.testing.assert_array_equal(labels, np.arange(30))
        assert shuffled.tolist() != labels.tolist()
        for name in ("image", "text"):
            np.testing.assert_array_equal(view[name], shown[name])


def test_views_follow_one_another_and_differ(dataset):
    batches = list(view_batches(dataset, views=2, batch_size=20))
    assert [y.numpy()[[0, -1]].tolist() for _, y in batches] == [[0, 19], [20, 29]] * 2
    assert (batches[0][0]["image"].numpy() != batches[2][0]["image"].numpy()).any()


def test_without_augmentation_a_view_is_the_data(dataset):
    view, _ = in_order(view_batches(dataset, views=1, augment=False))
    np.testing.assert_array_equal(view["image"], dataset.splits["train"].inputs["image"])
