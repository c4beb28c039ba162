from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.data.batches import (
    batches,
    first_view_seed,
    keyed_outputs,
    named_teachers,
    num_steps,
    output_key,
    training_batches,
    view_batches,
)
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
        modalities={"image": Image(height=8), "text": Text(vocabulary=words, length=2)},
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


def test_any_seed_has_views_of_its_own(dataset):
    words = [
        [step[1] for step in read(dataset, epochs=4, seed=seed)] for seed in (0, 32_768, 2**31 - 1)
    ]
    assert words[0] != words[1] != words[2]
    for seed in (32_767, 32_768, 10**6, 2**31 - 1):  # of 32 bits, with room for 2**15 views
        assert 0 <= first_view_seed(seed) <= 2**31 - 2**15
    assert [first_view_seed(seed) for seed in (0, 1, 32_767)] == [0, 65_537, 2**31 - 32_769]


def test_augmentation_changes_words_of_some_epochs_only_when_asked(dataset):
    words = [word for step in read(dataset, epochs=20) for word in step[1]]
    assert 0.05 < np.mean(np.array(words) == 1) < 0.3
    assert 0 not in words  # to leave out a modality is the model's own part
    words = [word for step in read(dataset, epochs=5, augment=False) for word in step[1]]
    assert 1 not in words


def test_evaluation_batches_keep_the_order(dataset):
    numbers = [x["image"][:, 0, 0, 0].numpy() for x, _ in batches(dataset, "test", batch_size=2)]
    assert np.concatenate(numbers).tolist() == [30, 31, 32, 33, 34]


def outputs_of_a_teacher(dataset, *, views=2, **changes):
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
    soft_targets = outputs_of_a_teacher(dataset, augment=False)
    arguments = {"batch_size": 4, "augment": False, "soft_targets": soft_targets}
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
    cached = read(dataset, epochs=3, soft_targets=outputs_of_a_teacher(dataset, views=1))
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
    caches = {"large": outputs_of_a_teacher(dataset), "old": outputs_of_a_teacher(dataset)}
    x, _ = next(iter(training_batches(dataset, epochs=1, soft_targets=caches)))
    kept = ["large/cache", "large/logits", "old/cache", "old/logits"]
    assert sorted(x) == ["image", *kept, "text"]
    x, _ = next(iter(training_batches(dataset, epochs=1, soft_targets=list(caches.values()))))
    assert set(x) > {"image", "teacher_0/logits", "teacher_1/logits", "text"}


def test_soft_targets_of_something_else_are_refused_with_all_reasons(dataset):
    caches = {
        "a": outputs_of_a_teacher(dataset, seed=5, num_examples=9),
        "b": outputs_of_a_teacher(dataset, fingerprint="of other data", views=3),
        "c": outputs_of_a_teacher(dataset, augment=False),
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
    cache = outputs_of_a_teacher(dataset, views=1, augment=False, seed=None)
    batches = training_batches(dataset, epochs=1, seed=3, augment=False, soft_targets=cache)
    assert "teacher/logits" in next(iter(batches))[0]


@pytest.fixture
def noise():
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
            "image": Image(height=8),
            "text": Text(vocabulary=["<pad>", "<unk>", *map(str, range(10))], length=4),
        },
    )


def in_order(batches):
    """The examples by label, which is their index here."""
    parts = [({name: values.numpy() for name, values in x.items()}, y.numpy()) for x, y in batches]
    labels = np.concatenate([y for _, y in parts])
    order = np.argsort(labels)
    return {n: np.concatenate([x[n] for x, _ in parts])[order] for n in parts[0][0]}, labels


@pytest.mark.parametrize("seed", [0, 70_000])
def test_a_view_is_what_the_epoch_of_its_number_shows(noise, seed):
    for epoch in (0, 2):
        arguments = {"seed": seed, "batch_size": 7}
        view, labels = in_order(view_batches(noise, first_view=epoch, views=epoch + 1, **arguments))
        shown, shuffled = in_order(
            training_batches(noise, first_epoch=epoch, epochs=epoch + 1, **arguments)
        )
        np.testing.assert_array_equal(labels, np.arange(30))
        assert shuffled.tolist() != labels.tolist()
        for name in ("image", "text"):
            np.testing.assert_array_equal(view[name], shown[name])


def test_views_follow_one_another_and_differ(noise):
    batches = list(view_batches(noise, views=2, batch_size=20))
    assert [y.numpy()[[0, -1]].tolist() for _, y in batches] == [[0, 19], [20, 29]] * 2
    assert (batches[0][0]["image"].numpy() != batches[2][0]["image"].numpy()).any()


def test_without_augmentation_a_view_is_the_data(noise):
    view, _ = in_order(view_batches(noise, views=1, augment=False))
    np.testing.assert_array_equal(view["image"], noise.splits["train"].inputs["image"])


def test_every_teacher_has_a_name():
    a, b = object(), object()
    assert named_teachers(a) == {"teacher": a}
    assert named_teachers([a, b]) == named_teachers((a, b)) == {"teacher_0": a, "teacher_1": b}
    assert named_teachers({"big": a, "image": b}) == {"big": a, "image": b}


def test_names_are_a_copy():
    given = {"big": object()}
    assert named_teachers(given) is not given


def test_an_output_is_named_after_its_teacher():
    assert output_key("big", "hidden") == "big/hidden"


def test_outputs_are_held_under_their_keys_with_the_marker_of_their_cache():
    outputs = {"logits": np.ones((3, 2), "float32"), "hidden": np.ones((3, 4, 5), "float32")}
    cache = SimpleNamespace(marker=lambda teacher_name: f"{teacher_name}/cache-7")
    keyed = keyed_outputs(outputs, cache=cache, teacher_name="big")
    assert list(keyed) == ["big/logits", "big/hidden", "big/cache-7"]
    assert keyed["big/logits"] is outputs["logits"] and keyed["big/hidden"] is outputs["hidden"]
    # One entry an example, so that the batch can be taken apart and put together.
    np.testing.assert_array_equal(keyed["big/cache-7"], np.zeros(3, "uint8"))
    assert keyed["big/cache-7"].dtype == "uint8"
