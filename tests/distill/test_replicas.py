"""Training on two devices: as on one, also where batches divide unevenly."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill import training
from mmkd_tf.distill.feature_terms import Relation
from mmkd_tf.distill.replicas import strategy_by_name
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.training import Recipe, check_strategy, distill, train
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

# Batches of 4, 4 and 1: the last leaves a device without any example. Validation has 5.
ONE = Recipe(epochs=2, batch_size=4, learning_rate=1e-2, augment=False, class_weight="balanced")
TWO = dataclasses.replace(ONE, strategy="mirrored")


def examples(count, seed):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(1, 256, [count, 8, 8, 3], dtype=np.uint8)
    words = rng.integers(2, 6, [count, 3], dtype=np.int32)  # each several times in a batch
    return Examples({"image": pictures, "text": words}, rng.integers(0, 3, count).astype("int32"))


def few():
    return Dataset(
        name="few",
        splits={"train": examples(9, 0), "validation": examples(5, 1), "test": examples(3, 2)},
        class_names=["a", "b", "c"],
        modalities={
            "image": Image(height=8),
            "text": Text(vocabulary=["<pad>", "<unk>", "r", "s", "t", "u"], length=3),
        },
    )


@pytest.fixture(scope="module")
def dataset():
    return few()


def model(width=4, seed=0):
    """Without dropout, which draws for each device apart."""

    def start(number):
        return keras.initializers.GlorotUniform(seed=10 * seed + number)

    image = keras.Input([8, 8, 3], dtype="uint8", name="image")
    text = keras.Input([3], dtype="int32", name="text")
    x = layers.Flatten()(layers.Rescaling(1 / 25)(image))  # large enough for clipping
    weights = {"kernel_initializer": start(0), "kernel_regularizer": "l2", "use_bias": False}
    x = layers.Dense(width, **weights)(x)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.5)(x))
    y = layers.Embedding(6, width, embeddings_initializer=start(1))(text)
    fused = layers.Concatenate()([x, layers.GlobalAveragePooling1D()(y)])
    logits = layers.Dense(3, kernel_initializer=start(2), name="logits")(fused)
    return keras.Model({"image": image, "text": text}, logits)


class Logs(keras.callbacks.Callback):
    """Keeps an epoch's figures."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append({name: float(value) for name, value in logs.items()})


def assert_same(ours, theirs):
    """Weights to 2e-5; a step changes them by up to 1e-2."""
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def assert_same_figures(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)


def test_labels_teach_as_on_one_device(dataset, monkeypatch):
    monkeypatch.setattr(training, "MOST_STEPS_TOGETHER", 1)  # the other test makes several
    alone, both, start = model(), model(), model().get_weights()
    logs, more = Logs(), Logs()
    train(alone, dataset, ONE, callbacks=[logs])
    train(both, dataset, TWO, callbacks=[more])
    assert_same(both, alone)
    assert_same_figures(more.epochs, logs.epochs)
    moved = [np.abs(a - b).max() for a, b in zip(start, both.get_weights(), strict=True)]
    assert min(moved) > 1e-3
    assert both.distribute_strategy.num_replicas_in_sync == 1


def test_cached_soft_targets_teach_as_on_one_device(dataset, tmp_path):
    where = tmp_path / "teacher"
    cache = cache_soft_targets(
        teacher=model(5, seed=1), dataset=dataset, folder=where, augment=False
    )
    students, epochs = [], []
    for recipe in (ONE, TWO):
        student, logs = model(), Logs()
        distill(
            student=student,
            teacher=cache,
            dataset=dataset,
            recipe=recipe,
            terms=[SoftTargets(2.0, 0.5)],
            callbacks=[logs],
        )
        students.append(student)
        epochs.append(logs.epochs)
    assert_same(*students)
    assert_same_figures(*epochs)
    assert {"soft_target_loss", "val_loss", "val_accuracy"} <= set(epochs[1][0])


def test_which_devices_train(monkeypatch):
    assert strategy_by_name("none") is None
    assert strategy_by_name("auto") is None  # there is no GPU
    found = strategy_by_name("mirrored")
    assert found.num_replicas_in_sync == 2 and strategy_by_name("mirrored") is found
    one = tf.config.list_logical_devices("CPU")[:1]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: one * (kind == "CPU"))
    with pytest.raises(ValueError, match="sees two GPUs or more. Received: mirrored, 0 of them"):
        strategy_by_name.__wrapped__("mirrored")


def test_what_several_devices_would_change_is_refused(dataset):
    pairs = Dataset(
        name="pairs",
        splits=dataset.splits,
        class_names=[],
        modalities=dataset.modalities,
        task="retrieval",
    )
    check_strategy("mirrored", "mixed_bfloat16", dataset, [SoftTargets()])
    check_strategy("auto", "mixed_float16", dataset, [Relation("logits", 1.0)])
    with pytest.raises(ValueError, match="'relation_logits' with .*, 2 replicas. Train on one"):
        check_strategy("mirrored", "float32", dataset, [Relation("logits", 1.0)])
    with pytest.raises(ValueError, match="loss MatchingLoss, 2 replicas"):
        check_strategy("mirrored", "float32", pairs)
    with pytest.raises(ValueError, match="`training.precision`: float32 or mixed_bfloat16 with"):
        train(model(), dataset, dataclasses.replace(TWO, precision="mixed_float16"))
