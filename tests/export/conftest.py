import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

CLASS_NAMES = ["cup", "hat", "Schlüssel 茶"]
VOCABULARY = ["<pad>", "<unk>", "red", "茶"] + [f"word{i}" for i in range(16)]
SIZE, LENGTH = 16, 6


def spread_weights(model, scale=0.4):
    """Random weights, moving averages too, so that each part of the model shows in its answer."""
    rng = np.random.default_rng(3)
    model.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape)
            if "variance" in v.path
            else rng.normal(0, scale, w.shape)
            for v, w in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    return model


def small_model(text_encoder=None, dtype="uint8"):
    """What a student is made of, in small: separable convolution, Embedding, LSTM."""
    image = keras.Input([SIZE, SIZE, 3], dtype=dtype, name="image")
    text = keras.Input([LENGTH], dtype="int32", name="text")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.SeparableConv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(x))
    y = layers.Embedding(len(VOCABULARY), 16, mask_zero=True)(text)
    y = (text_encoder or layers.LSTM(16, name="text_features"))(y)
    logits = layers.Dense(len(CLASS_NAMES), name="logits")(layers.Concatenate()([x, y]))
    return spread_weights(keras.Model({"image": image, "text": text}, logits))


@pytest.fixture(scope="session")
def make_model():
    return small_model


@pytest.fixture(scope="session")
def model():
    return small_model()


@pytest.fixture(scope="session")
def class_names():
    return CLASS_NAMES


@pytest.fixture(scope="session")
def vocabulary():
    return VOCABULARY


@pytest.fixture(scope="session")
def modalities():
    return {"image": Image(height=SIZE), "text": Text(vocabulary=VOCABULARY, length=LENGTH)}


@pytest.fixture(scope="session")
def examples():
    """40 examples: texts of all lengths, one with a hole, one empty; one picture absent."""
    rng = np.random.default_rng(4)
    text = rng.integers(1, len(VOCABULARY), (40, LENGTH)).astype("int32")
    text[np.arange(LENGTH) >= rng.integers(0, LENGTH + 1, (40, 1))] = 0
    text[:3] = [[0] * 6, [2, 0, 3, 0, 0, 4], [5] * 6]
    image = rng.integers(0, 256, (40, SIZE, SIZE, 3)).astype("uint8")
    image[3] = 0
    return {"image": image, "text": text}


@pytest.fixture(scope="session")
def run_file():
    """Runs a .tflite file with the plain interpreter: `[n, num_classes]`."""

    def run(path, inputs):
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        runner = interpreter.get_signature_runner("serving_default")
        num_examples = len(next(iter(inputs.values())))
        rows = [{k: v[i : i + 1] for k, v in inputs.items()} for i in range(num_examples)]
        return np.concatenate([runner(**row)["probabilities"] for row in rows])

    return run


@pytest.fixture(scope="session")
def log_softmax():
    def function(logits):
        shifted = np.asarray(logits, np.float64)
        shifted = shifted - shifted.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    return function
