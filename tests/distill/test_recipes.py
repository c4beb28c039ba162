"""What a recipe may ask for: the best epoch, an early end, weights of classes, precision."""

import dataclasses

import keras
import numpy as np
import pytest

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.epochs import BestEpoch
from mmkd_tf.distill.training import Recipe, class_weights, computing_in, distill, train
from mmkd_tf.modalities.image import Image
from mmkd_tf.models import build_student, build_teacher
from mmkd_tf.models.seeding import seeded

RECIPE = Recipe(epochs=5, batch_size=16, learning_rate=2e-2, augment=False)


def examples(labels, seed):
    """The class is told by the colour of the picture."""
    labels, rng = np.array(labels, "int32"), np.random.default_rng(seed)
    pictures = rng.integers(0, 200, [len(labels), 16, 16, 3])
    pictures[np.arange(len(labels)), :, :, labels] += 30
    return Examples({"image": pictures.astype(np.uint8)}, labels)


@pytest.fixture(scope="module")
def dataset():
    rare = [0] * 36 + [1] * 12
    splits = {"train": rare, "validation": rare[::3], "test": rare[::3]}
    return Dataset(
        name="colours",
        splits={
            name: examples(labels, number) for number, (name, labels) in enumerate(splits.items())
        },
        class_names=["red", "green"],
        modalities={"image": Image(height=16)},
    )


@pytest.fixture(scope="module")
def misled(dataset):
    """What is learned makes the loss on validation rise, so that the first epoch is the best."""
    train = dataset.splits["train"]
    wrong = Examples(train.inputs, 1 - train.labels)
    splits = {**dataset.splits, "validation": wrong}
    names, forms = dataset.class_names, dataset.modalities
    return Dataset(name="misled", splits=splits, class_names=names, modalities=forms)


class Weights(keras.callbacks.Callback):
    """Keeps loss and weights of each epoch, and fails before one if asked to."""

    def __init__(self, fails_before=None):
        super().__init__()
        self.losses, self.weights, self.fails_before = [], [], fails_before

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.fails_before:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["val_loss"])
        self.weights.append([w.numpy() for w in self.model.weights])


def trained(dataset, recipe, *seen, **where):
    model = seeded(build_student(dataset), seed=1)
    return train(model, dataset, recipe, callbacks=seen, **where)


def check_weights(model, expected):
    for variable, value in zip(model.weights, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, atol=1e-6)


def test_the_best_epoch_is_given_back_also_by_a_training_that_was_interrupted(misled, tmp_path):
    recipe, seen = dataclasses.replace(RECIPE, restore="best"), Weights()
    model = trained(misled, recipe, seen)
    best = int(np.argmin(seen.losses))
    assert best < 3, seen.losses
    check_weights(model, seen.weights[best])
    with pytest.raises(KeyboardInterrupt):
        trained(misled, recipe, Weights(fails_before=3), backup=tmp_path)
    assert (tmp_path / "best.npz").is_file()
    check_weights(trained(misled, recipe, backup=tmp_path), seen.weights[best])


def test_by_default_the_last_epoch_stays(dataset):
    seen = Weights()
    check_weights(trained(dataset, RECIPE, seen), seen.weights[-1])


def test_an_early_end_comes_after_so_many_epochs_without_a_lower_loss():
    best = BestEpoch(None, patience=2)
    best.set_model(keras.Sequential([keras.Input([1]), keras.layers.Dense(1)]))
    stopped = []
    for epoch, loss in enumerate([3.0, 2.0, 2.5, 2.0, 1.0]):
        best.model.stop_training = False
        best.on_epoch_end(epoch, {"val_loss": loss})
        stopped.append(best.model.stop_training)
    assert stopped == [False, False, False, True, False]
    assert (best.epoch, best.loss) == (5, 1.0)


def test_a_training_that_had_ended_early_does_not_go_on(misled, tmp_path):
    recipe = dataclasses.replace(RECIPE, early_stopping=1)
    first, again = Weights(), Weights()
    model = trained(misled, recipe, first, backup=tmp_path)
    assert len(first.losses) < RECIPE.epochs, first.losses
    resumed = trained(misled, recipe, again, backup=tmp_path)
    check_weights(resumed, [w.numpy() for w in model.weights])
    assert not again.losses


def test_class_weights(dataset):
    assert class_weights(dataset, "none") is None
    # 48 rows of 2 classes: 48 / (2 * 36) and 48 / (2 * 12).
    np.testing.assert_allclose(class_weights(dataset, "balanced"), [2 / 3, 2])
    np.testing.assert_allclose(class_weights(dataset, {"green": 3}), [1, 3])
    with pytest.raises(ValueError, match=r"of red, green\. Received: \['blue'\]"):
        class_weights(dataset, {"blue": 1})


@pytest.mark.parametrize("distilled", [False, True])
def test_a_class_whose_labels_count_for_nothing_is_not_learned(dataset, distilled):
    recipe = dataclasses.replace(RECIPE, class_weight={"green": 0.0}, epochs=3)
    if distilled:
        student, teacher = seeded(build_student(dataset), seed=1), build_teacher(dataset)
        options = {"terms": [], "hard_label_weight": 1.0}
        distill(student=student, teacher=teacher, dataset=dataset, recipe=recipe, **options)
    else:
        student = trained(dataset, recipe)
    logits = student.predict(dict(dataset.splits["train"].inputs), verbose=0)
    assert (logits.argmax(1) == 0).all()


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_leaves_a_model_of_float32(dataset, precision):
    model = seeded(build_student(dataset), seed=1)
    with computing_in(model, precision):
        inner = model.get_layer("image_conv0")
        assert inner.compute_dtype == precision.removeprefix("mixed_")
        outputs = model({"image": dataset.splits["test"].inputs["image"]})
        assert outputs.dtype == "float32"
    before = [w.numpy() for w in model.weights]
    train(model, dataset, dataclasses.replace(RECIPE, epochs=1, precision=precision))
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert all(np.isfinite(w.numpy()).all() for w in model.weights)
    assert any((w.numpy() != b).any() for w, b in zip(model.weights, before, strict=True))
