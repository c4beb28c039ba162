"""Parts of a student that do not learn are run once for each view."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.data.batches import training_batches, view_batches
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill import held as held_module
from mmkd_tf.distill import training as training_module
from mmkd_tf.distill.held import held_model, rows_with_held, with_held
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.training import Recipe, distill, train
from mmkd_tf.distill.transfer import TransferRows
from mmkd_tf.modalities import image as image_module
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.builder import build_student, build_teacher
from mmkd_tf.models.seeding import seeded

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=1e-2, seed=5)


def examples(count, seed):
    """Pictures and words that tell the class; the first lacks the one, the second the other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype("int32")
    pictures = rng.integers(1, 120, [count, 8, 8, 3])
    pictures[np.arange(count), :, :, labels] += 100
    texts = np.stack([labels + 2, np.full(count, 4)], 1).astype("int32")
    pictures[0], texts[1] = 0, 0
    return Examples({"image": pictures.astype(np.uint8), "text": texts}, labels)


@pytest.fixture(scope="module")
def dataset():
    return Dataset(
        name="colours",
        splits={"train": examples(20, 0), "validation": examples(6, 1), "test": examples(6, 2)},
        class_names=["red", "green"],
        modalities={
            "image": Image(height=8),
            "text": Text(vocabulary=["<pad>", "<unk>", "r", "g", "x"], length=2),
        },
    )


def part(shape, dtype, *, name, scale=1.0):
    inputs = keras.Input(shape, dtype=dtype, name=f"{name}_input")
    x = layers.Rescaling(scale, name=f"{name}_rescaling")(inputs)
    start = keras.initializers.GlorotUniform(seed=1)
    x = layers.Conv2D(4, 3, bias_initializer="ones", kernel_initializer=start, name=f"{name}_c")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return keras.Model(inputs, x, name=name)


def student_of(dataset, **options):
    held = part([8, 8, 3], "uint8", name="image_held", scale=1 / 255)
    held.trainable = False
    above = part([6, 6, 4], "float32", name="image_inherited")
    built = build_student(dataset, encoders={"image": [held, above]}, **options)
    return seeded(built, seed=1)


@pytest.fixture
def student(dataset):
    return student_of(dataset)


@pytest.fixture
def no_noise(monkeypatch):
    """Views are then what the whole student sees in training, which gets no noise."""
    monkeypatch.setattr(image_module, "MOST_NOISE", 0.0)


def answers(model, inputs):
    return model.predict(dict(inputs), verbose=0)


def same(ours, theirs, **tolerances):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, **tolerances)


def values_of(model):
    """Weights, and what dropout draws from."""
    return [variable.numpy() for variable in model.variables]


def restore(model, values):
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def distance(ours, theirs):
    pairs = zip(ours, theirs, strict=True)
    return sum(float(np.square(a - b).sum()) for a, b in pairs) ** 0.5


@pytest.mark.parametrize("augment", [False, True])
def test_the_part_that_learns_answers_as_the_whole(dataset, student, augment):
    learning, held = held_model(student)
    assert list(held) == ["image"] and learning.input["image"].shape == (None, 6, 6, 4)
    seen = with_held(dataset, held, epochs=2, seed=0, augment=augment)
    for split in ("validation",) if augment else ("train", "validation", "test"):
        now, was = seen.splits[split].inputs, dataset.splits[split].inputs
        assert now["image"].dtype == np.float16
        assert not now["image"][0].any() and now["image"][1:].any()
        # float16 has 11 bits.
        given = {name: now[name] for name in learning.input}
        np.testing.assert_allclose(answers(learning, given), answers(student, was), atol=5e-3)
        np.testing.assert_array_equal(now["teacher/image"], was["image"])


def test_a_student_without_such_parts_is_trained_whole(dataset):
    student = seeded(build_student(dataset), seed=1)
    assert held_model(student) == (student, {})
    above = part([8, 8, 3], "uint8", name="image_held")  # it learns
    student = build_student(dataset, encoders={"image": above})
    assert held_model(student) == (student, {})


def test_the_part_shares_its_weights_with_the_student(student):
    learning, _ = held_model(student)
    ours = {id(variable) for variable in student.trainable_variables}
    assert {id(variable) for variable in learning.trainable_variables} == ours
    assert len(learning.variables) < len(student.variables)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_in_training_absent_and_dropped_pictures_are_seen_as_by_the_whole(dataset, rate):
    """By batch normalisation above, whose statistics are of all examples."""
    student = student_of(dataset, modality_dropout={"image": rate})
    learning, held = held_model(student)
    seen = with_held(dataset, held, epochs=1, seed=0, augment=False)
    was, now = (data.splits["train"].inputs for data in (dataset, seen))
    assert not was["image"][0].any()  # absent; of the others some are dropped by the rate
    at_first = values_of(student)

    def step(model, inputs):
        """Outputs, and statistics that one step leaves."""
        restore(student, at_first)
        outputs = model({name: inputs[name] for name in model.input}, training=True)
        norm = student.get_layer("image_inherited").get_layer("image_inherited_norm")
        return [np.asarray(x) for x in (outputs, norm.moving_mean, norm.moving_variance)]

    whole = step(student, was)
    outputs, *statistics = step(learning, now)
    np.testing.assert_allclose(outputs, whole[0], atol=2e-3)  # float16 has 11 bits
    same(statistics, whole[1:], atol=5e-5)


def test_views_are_those_of_the_epochs(dataset, student, no_noise):
    """Whatever the order in which an epoch shows them."""
    learning, held = held_model(student)
    for seed, epochs in ((0, 3), (40, 2), (10**9 + 7, 2)):
        seen = with_held(dataset, held, epochs=epochs, seed=seed, augment=True)
        given = {"epochs": epochs, "batch_size": 8, "seed": seed}
        shown = list(training_batches(seen, **given))
        expected = list(training_batches(dataset, **given))
        assert len(shown) == len(expected) == 3 * epochs
        views = []
        for (now, labels), (was, theirs) in zip(shown, expected, strict=True):
            np.testing.assert_array_equal(labels, theirs)
            outputs = np.array(held["image"](was["image"], training=False))
            outputs[~np.asarray(was["image"]).any((1, 2, 3))] = 0
            np.testing.assert_allclose(now["image"], outputs, rtol=2e-3, atol=1e-3)
            np.testing.assert_array_equal(now["text"], was["text"])
            np.testing.assert_array_equal(now["teacher/image"], was["image"])
            views.append(np.asarray(now["image"], np.float32).sum())
        assert len(set(views)) == len(views)  # pictures do change


def test_some_pictures_of_a_view_have_noise(dataset, student, monkeypatch):
    _, held = held_model(student)
    given = {"epochs": 2, "seed": 3, "augment": True}

    def made():
        return with_held(dataset, held, **given).modalities["image"].views.numpy()

    noisy = made()
    monkeypatch.setattr(image_module, "MOST_NOISE", 0.0)
    changed = (made() != noisy).any((1, 2, 3))
    assert changed.shape == (40,) and 8 < changed.sum() < 32
    assert not changed[[0, 20]].any()  # the absent picture


def test_more_epochs_than_views_show_these_in_turn(dataset, student, monkeypatch):
    monkeypatch.setattr(held_module, "MOST_VIEWS", 2)
    _, held = held_model(student)
    seen = with_held(dataset, held, epochs=5, seed=3, augment=True)
    assert seen.modalities["image"].num_views == 2
    views = [
        np.asarray(batch["image"])
        for batch, _ in view_batches(seen, views=3, batch_size=20, seed=3)
    ]
    np.testing.assert_array_equal(views[0], views[2])
    assert (views[0] != views[1]).any()


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize("distilled", [False, True])
def test_learns_what_the_whole_would(dataset, monkeypatch, tmp_path, distilled):
    """But for rounding; with absent and dropped inputs."""
    student = student_of(dataset, modality_dropout=0.3)

    def trained():
        return [variable.numpy() for variable in student.trainable_variables]

    first, at_start = values_of(student), trained()
    held = student.get_layer("image_held")
    above = student.get_layer("image_inherited")
    below, at_first = held.get_weights(), above.get_weights()
    teacher = seeded(build_teacher(dataset), seed=2)
    recipe = Recipe(epochs=2, batch_size=8, seed=5, learning_rate=1e-3)
    kept = cache_soft_targets(
        teacher=teacher, dataset=dataset, folder=tmp_path, views=2, seed=5, augment=True
    )

    def fit():
        restore(student, first)
        if distilled:
            assert distill(student=student, teacher=kept, dataset=dataset, recipe=recipe) is student
        else:
            assert train(student, dataset, recipe) is student
        for was, now in zip(below, held.get_weights(), strict=True):
            assert was.tobytes() == now.tobytes()
        moved = zip(at_first, above.get_weights(), strict=True)
        assert max(np.abs(was - now).max() for was, now in moved) > 1e-2
        return trained()

    found = fit()
    monkeypatch.setattr(held_module, "MOST_BYTES", 1)
    whole = fit()
    # Where a gradient is about zero, Adam makes a step of what rounding leaves.
    apart, learnt = distance(found, whole), distance(whole, at_start)
    assert apart < 0.1 * learnt, (apart, learnt)


def test_what_takes_too_much_memory_is_not_kept(dataset, student, monkeypatch):
    _, held = held_model(student)
    one_view = 2 * 20 * 6 * 6 * 4
    given = {"epochs": 5, "seed": 0, "augment": True}
    monkeypatch.setattr(held_module, "MOST_BYTES", 2 * one_view)
    assert with_held(dataset, held, **given).modalities["image"].num_views == 2
    monkeypatch.setattr(held_module, "MOST_BYTES", 2 * one_view - 1)
    assert with_held(dataset, held, **given) is None
    assert with_held(dataset, held, **given | {"epochs": 1}) is not None
    monkeypatch.setattr(held_module, "MOST_BYTES", one_view - 1)
    assert with_held(dataset, held, **given | {"epochs": 1}) is None


class StopAt(keras.callbacks.Callback):
    """Fails as a power cut does, after some epochs."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_training_ends_with_the_same_weights(dataset, student, tmp_path):
    first = student.get_weights()
    expected = train(student, dataset, RECIPE).get_weights()
    student.set_weights(first)
    again = seeded(student, seed=1)  # what a new process builds
    again.set_weights(first)
    with pytest.raises(KeyboardInterrupt):
        train(again, dataset, RECIPE, backup=tmp_path, callbacks=[StopAt()])
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001.npz"]
    third = seeded(student, seed=1)
    third.set_weights(first)
    train(third, dataset, RECIPE, backup=tmp_path)
    same(third.get_weights(), expected, rtol=1e-5, atol=1e-6)


def some_rows():
    """Three pictures, one of them absent, in four rows."""
    pictures = examples(3, seed=7).inputs["image"]
    logits = np.array([[3, 0], [0, 3], [0, 3], [2, 0]], np.float32)
    return TransferRows(
        values={"image": pictures},
        index={"image": np.array([1, 2, -1, 0], np.int32)},
        logits=logits,
        labels=logits.argmax(1).astype(np.int32),
        sources={"unlabelled": 4},
    )


def test_rows_without_labels_have_views_of_any_seed(dataset, student):
    _, held = held_model(student)
    given = {"epochs": 2, "seed": 2**31 - 1, "augment": True}
    rows = rows_with_held(some_rows(), held, dataset.modalities, **given)
    assert rows.views == {"image": 2} and rows.values["image"].shape[0] == 6


def test_rows_without_labels_are_run_once_for_each_view_too(
    dataset, student, monkeypatch, no_noise
):
    _, held = held_model(student)
    given = {"epochs": 3, "seed": 4, "augment": True}
    rows = rows_with_held(some_rows(), held, dataset.modalities, **given)
    assert rows.views == {"image": 3} and rows.values["image"].dtype == np.float16
    assert rows.values["image"].shape == (9, 6, 6, 4)
    pictures = some_rows().values["image"]
    for view, found in enumerate(np.split(rows.values["image"], 3)):
        seeds = np.stack([np.arange(3), np.full(3, 4 * 65_537 + view)], 1).astype(np.int32)
        shown = dataset.modalities["image"].augment(pictures, seeds)
        expected = np.array(held["image"](shown, training=False))
        expected[0] = 0  # absent
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)
    one_view = 2 * 3 * 6 * 6 * 4
    for most, views in ((3 * one_view - 1, 2), (one_view, 1)):
        monkeypatch.setattr(held_module, "MOST_BYTES", most)
        again = rows_with_held(some_rows(), held, dataset.modalities, **given)
        assert again.views == {"image": views}
    monkeypatch.setattr(held_module, "MOST_BYTES", one_view - 1)
    assert rows_with_held(some_rows(), held, dataset.modalities, **given) is None
    clean = rows_with_held(some_rows(), {}, dataset.modalities, **given)
    np.testing.assert_array_equal(clean.values["image"], pictures)


def test_a_student_learns_from_rows_without_labels_as_the_whole_would(
    dataset, monkeypatch, tmp_path, no_noise
):
    """But for rounding; no picture is absent, as above."""
    train_rows = dataset.splits["train"]
    given = {name: values[1:] for name, values in train_rows.inputs.items()}
    dataset = dataset.with_inputs(lambda examples: dict(examples.inputs))
    dataset.splits["train"] = Examples(given, train_rows.labels[1:])
    rows = some_rows()
    rows = replace(rows, index={"image": np.array([1, 2, 1, 2], np.int32)})
    student = student_of(dataset, modality_dropout=0)
    first = student.get_weights()
    at_start = [variable.numpy() for variable in student.trainable_variables]
    recipe = Recipe(epochs=2, batch_size=8, seed=5, learning_rate=1e-3, augment=False)
    teacher = seeded(build_teacher(dataset), seed=2)
    kept = cache_soft_targets(teacher=teacher, dataset=dataset, folder=tmp_path, augment=False)

    def fit(**given):
        student.set_weights(first)
        distill(student=student, teacher=kept, dataset=dataset, recipe=recipe, **given)
        return [variable.numpy() for variable in student.trainable_variables]

    given = {"transfer": rows, "transfer_share": 1.0}
    held, without = fit(**given), fit()
    monkeypatch.setattr(training_module, "held_model", lambda model: (model, {}))
    whole = fit(**given)
    apart = distance(held, whole)
    assert apart < 0.1 * distance(whole, at_start)
    assert apart < 0.5 * distance(whole, without)  # it is not that nothing came of them
