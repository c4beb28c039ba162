"""Teachers that read an input and its pretrained features beside it."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.data.beside import InputAndFeatures, Unpacked, packed
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector, with_pretrained
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.builder import build_teacher

TEXT = Text(vocabulary=["<pad>", "<unk>", "a", "b"], length=3)
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(1, 255, [4, 8, 8, 3]).astype(np.uint8)
FEATURES = RNG.normal(size=[4, 5]).astype(np.float32)


@pytest.mark.parametrize(
    "values", [PICTURES, RNG.integers(0, 9, [4, 7]).astype(np.int32), FEATURES[:, :3]]
)
def test_values_and_features_come_back_bit_by_bit(values):
    both = packed(values, FEATURES)
    assert both.dtype == values.dtype and both.ndim == 2
    layer = Unpacked(values.shape[1:], 5)
    own, features = Unpacked.from_config(layer.get_config())(both)
    np.testing.assert_array_equal(own, values)
    np.testing.assert_array_equal(features, FEATURES)
    assert not packed(np.zeros_like(values), 0 * FEATURES).any()


def test_augmentation_leaves_the_features():
    form = InputAndFeatures(Image(height=8), [8, 8, 3], FeatureVector("image", 5, "numbers"))
    seeds = tf.constant([[i, 3] for i in range(4)])
    changed = form.augment(tf.constant(packed(PICTURES, FEATURES)), seeds)
    own, features = Unpacked([8, 8, 3], 5)(changed)
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(own, form.own.augment(tf.constant(PICTURES), seeds))
    assert (own.numpy() != PICTURES).any()
    other = InputAndFeatures(TEXT, [3], FeatureVector("text", 5, "numbers"))
    assert form.fingerprint() != other.fingerprint() and "numbers" in form.describe()


class Encoder:
    def __init__(self, kind):
        self.backbone = SimpleNamespace(name=f"fake {kind}", kind=kind, dim=2)

    def features(self, values):
        return np.float32([[len(values), float(np.mean([len(v) for v in values]))] for _ in values])


def test_a_teacher_of_both_has_both_encoders(tmp_path):
    texts = ["a b", "b b", "", "a"]
    pictures = PICTURES.copy()
    pictures[3] = 0
    inputs = {"image": pictures, "text": TEXT.to_tensor(texts).numpy()}
    one = Examples(inputs, np.arange(4, dtype=np.int32) % 2, {"text": texts})
    dataset = Dataset(
        name="few",
        splits=dict.fromkeys(("train", "validation", "test"), one),
        class_names=["x", "y"],
        modalities={"image": Image(height=8), "text": TEXT},
    )
    given = {"image": [Encoder("image")]}
    seen = with_pretrained(dataset, given, beside=True)
    assert sorted(seen.modalities) == ["image", "teacher/image", "text"]
    np.testing.assert_array_equal(seen.splits["train"].inputs["image"], pictures)
    teacher = build_teacher(seen)
    x = dict(seen.seen_by(teacher=True).splits["train"].inputs)
    features = keras.Model(teacher.input, teacher.get_layer("image_features").output)(x).numpy()
    frozen = with_pretrained(dataset, given).splits["train"].inputs["teacher/image"]
    assert features.shape == (4, 128 + 2)
    np.testing.assert_allclose(features[:, 128:], 16 * frozen)
    lacking = seen.without("image").seen_by(teacher=True).splits["train"].inputs
    assert not lacking["image"].any()
    before = teacher(dict(lacking), training=False).numpy()
    assert "image_trained_conv0" in {layer.name for layer in teacher.layers}
    teacher.save(tmp_path / "teacher.keras")
    back = keras.saving.load_model(tmp_path / "teacher.keras", compile=False)
    np.testing.assert_allclose(back(dict(lacking), training=False), before, atol=1e-6)
