import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.export.tflite import export_tflite

CLASS_NAMES = ["cup", "hat", "Schlüssel 茶"]
VOCABULARY = ["<pad>", "<unk>", "red", "茶", "big"]


@pytest.fixture(scope="session")
def student():
    """A model of pictures 12 x 16 and texts of 4 words, with random weights."""
    keras.utils.set_random_seed(5)
    image = keras.Input([12, 16, 3], dtype="uint8", name="image")
    text = keras.Input([4], dtype="int32", name="text")
    x = layers.Conv2D(6, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(image))
    x = layers.Flatten()(x)
    y = layers.LSTM(5)(layers.Embedding(5, 4, "normal", mask_zero=True)(text))
    logits = layers.Dense(3, kernel_initializer="normal")(layers.Concatenate()([x, 20 * y]))
    return keras.Model({"image": image, "text": text}, 10 * logits)


@pytest.fixture(scope="session")
def student_file(student, tmp_path_factory):
    """The student as a .tflite file, with labels and vocabulary."""
    path = tmp_path_factory.mktemp("student") / "student.tflite"
    rng = np.random.default_rng(0)
    examples = {
        "image": rng.integers(0, 256, (8, 12, 16, 3)).astype("uint8"),
        "text": rng.integers(0, 5, (8, 4)).astype("int32"),
    }
    export_tflite(student, path, class_names=CLASS_NAMES, vocabulary=VOCABULARY, examples=examples)
    return path
