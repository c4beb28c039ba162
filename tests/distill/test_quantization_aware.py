import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from mmkd_tf.distill import Distiller, Hint, SoftTargets
from mmkd_tf.distill.quantization_aware import keep_rounded_weights, quantization_aware
from mmkd_tf.models import Attention, Concatenation
from mmkd_tf.models.fusion import Presence

FLOAT = {"weight_bits": 16, "embedding_bits": 16, "activation_bits": None}


def rounded(values, bits, axes):
    """What an integer file has of some weights."""
    scale = np.abs(values).max(axes, keepdims=True) / (2 ** (bits - 1) - 1)
    return (np.round(values / scale) * scale).astype("float32")


def image_and_text_student(recurrent=None, fusion=None):
    image = keras.Input([8, 8, 3], dtype="uint8", name="image")
    text = keras.Input([5], dtype="int32", name="text")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2, name="conv")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5, name="norm")(x))
    x = layers.GlobalAveragePooling2D(name="image_features")(x)
    y = layers.Embedding(20, 4, mask_zero=True, name="embedding")(text)
    y = (recurrent or layers.LSTM(6, name="text_features"))(y)
    features = {"image": x, "text": y}
    presence = {"image": Presence()(image), "text": Presence()(text)}
    fused = (fusion or Concatenation(name="fused_features"))(features, presence)
    logits = layers.Dense(3, name="logits")(fused)
    return keras.Model({"image": image, "text": text}, logits, name="student")


def nested_encoder():
    inputs = keras.Input([5, 4])
    return keras.Model(inputs, layers.GRU(3)(layers.LSTM(4, return_sequences=True)(inputs)))


def examples(number=12):
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 6, [number, 1])  # an empty text is an absent one
    text = rng.integers(1, 20, [number, 5]) * (np.arange(5) < lengths)
    image = rng.integers(0, 256, [number, 8, 8, 3])
    return {"image": image.astype("uint8"), "text": text.astype("int32")}


@pytest.fixture
def student():
    keras.utils.set_random_seed(3)
    return image_and_text_student()


def test_a_convolution_equals_numpy():
    rng = np.random.default_rng(1)
    inputs = keras.Input([1, 1, 6], name="image")
    x = layers.Flatten()(layers.Conv2D(4, 1)(inputs))
    student = keras.Model(inputs, layers.Dense(2)(x))
    kernel, bias, dense = rng.normal(size=[6, 4]), rng.normal(size=4), rng.normal(size=[4, 2])
    student.set_weights([kernel[None, None], bias, dense, np.zeros(2)])
    x = rng.uniform(0, 15, [5, 1, 1, 6]).astype("float32")
    x[0] = 15  # so that the sixteen values are 0, 1, ..., 15
    for activation_bits, taken in ((None, x), (4, np.round(x))):
        twin = quantization_aware(student, weight_bits=3, activation_bits=activation_bits)
        expected = (taken[:, 0, 0] @ rounded(kernel, 3, 0) + bias) @ rounded(dense, 3, 0)
        np.testing.assert_allclose(twin(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: image_and_text_student(),
        lambda: image_and_text_student(layers.GRU(6)),
        lambda: image_and_text_student(layers.Bidirectional(layers.LSTM(3))),
        lambda: image_and_text_student(fusion=Attention(8, seed=0)),
        lambda: image_and_text_student(nested_encoder()),
    ],
    ids=["lstm", "gru", "bidirectional", "attention", "nested"],
)
@pytest.mark.filterwarnings("ignore:.*passed an input with a mask")
def test_the_twin_equals_a_student_with_rounded_weights(make):
    keras.utils.set_random_seed(3)
    student = make()
    x = examples()
    before = student(x).numpy()
    twin = quantization_aware(student, weight_bits=5, embedding_bits=3, activation_bits=None)
    found = twin(x).numpy()
    np.testing.assert_allclose(quantization_aware(student, **FLOAT)(x), before, atol=1e-4)
    changed = 0
    for variable in student.weights:
        values = variable.numpy()
        if variable.name == "embeddings":
            variable.assign(rounded(values, 3, 1))
        elif variable.path == "depthwise/kernel" or variable.name == "depthwise_kernel":
            variable.assign(rounded(values, 5, (0, 1)))
        elif values.ndim > 1 and variable.name != "bias":  # a GRU's has two rows
            variable.assign(rounded(values, 5, tuple(range(values.ndim - 1))))
        changed += np.any(variable.numpy() != values)
    assert changed >= 7
    np.testing.assert_allclose(found, student(x), atol=1e-5)
    assert np.abs(found - before).max() > 1e-3


def test_the_twin_shares_variables_names_and_inputs(student):
    twin = quantization_aware(student)
    assert [id(v) for v in twin.trainable_variables] == [id(v) for v in student.trainable_variables]
    assert [layer.name for layer in twin.layers] == [layer.name for layer in student.layers]
    assert list(twin.input) == list(student.input)
    assert all(len(layer._inbound_nodes) == 1 for layer in student.layers)
    sequential = keras.Sequential([keras.Input([4], name="image"), layers.Dense(2)])
    assert quantization_aware(sequential)(np.ones([1, 4])).shape == (1, 2)


def test_rounded_weights_can_be_kept(student):
    x = examples()
    twin = quantization_aware(student, weight_bits=4, embedding_bits=4, activation_bits=None)
    expected = twin(x).numpy()
    assert np.abs(expected - student(x)).max() > 1e-3
    keep_rounded_weights(twin)
    np.testing.assert_allclose(student(x), expected, atol=1e-6)
    np.testing.assert_allclose(twin(x), expected, atol=1e-6)
    with pytest.raises(ValueError, match="`twin`: what quantization_aware"):
        keep_rounded_weights(student)


def test_gradients_reach_all_weights_and_state_is_kept(student):
    dropout = layers.LSTM(6, recurrent_dropout=0.5, seed=1, activity_regularizer="l2")
    student = image_and_text_student(dropout)
    twin = quantization_aware(student)
    x = examples()
    state = [v.numpy() for v in student.non_trainable_variables]
    generator = [v for v in dropout.variables if "seed" in v.path][0].numpy()
    with tf.GradientTape() as tape:
        loss = ops.mean(ops.square(twin(x, training=True))) + sum(twin.losses)
    gradients = tape.gradient(loss, twin.trainable_variables)
    assert all(np.abs(np.asarray(g)).max() > 0 for g in map(tf.convert_to_tensor, gradients))
    assert len(twin.losses) == 1 and float(twin.losses[0]) > 0
    for old, variable in zip(state, student.non_trainable_variables, strict=True):
        assert np.abs(variable.numpy() - old).max() > 0  # the moving means
    assert ([v for v in dropout.variables if "seed" in v.path][0].numpy() != generator).any()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(3)
        student = image_and_text_student()
        x = examples()
        twin = quantization_aware(student)
        assert twin(x).dtype == student(x).dtype
        np.testing.assert_allclose(
            quantization_aware(student, **FLOAT)(x), student(x), atol=0.02, rtol=0.02
        )
        if policy == "mixed_float16":
            distiller = Distiller(student=twin, teacher=image_and_text_student())
            distiller.compile("adam")
            before_fit = student.get_layer("logits").get_weights()[0]
            distiller.fit(x, np.arange(12) % 3, epochs=2, verbose=0)
            change = np.abs(student.get_layer("logits").get_weights()[0] - before_fit).max()
            assert 1e-4 < change < 1
    finally:
        keras.config.set_dtype_policy(before)


def test_a_distiller_trains_the_student_through_its_twin(student, tmp_path):
    keras.utils.set_random_seed(4)
    teacher = image_and_text_student()
    x, y = examples(24), np.arange(24) % 3
    before = [v.numpy() for v in student.trainable_variables]
    distiller = Distiller(student=quantization_aware(student), teacher=teacher)
    terms = [SoftTargets(), Hint("image_features", weight=0.1), Hint("fused_features", weight=0.1)]
    distiller.compile(keras.optimizers.Adam(0.01), terms=terms)
    loss = distiller.fit(x, y, epochs=8, batch_size=8, verbose=0).history["loss"]
    assert loss[-1] < 0.9 * loss[0]
    after = [v.numpy() for v in student.trainable_variables]
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True))
    student.save(tmp_path / "student.keras")
    loaded = keras.saving.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded(x), student(x), atol=1e-6)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    np.testing.assert_allclose(loaded.student(x), distiller.student(x), atol=1e-6)


def test_a_rounded_student_learns_to_agree_with_the_float_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=[400, 12]).astype("float32")
    y = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] > 0.2).astype("int32")
    keras.utils.set_random_seed(0)

    def build():
        inputs = hidden = keras.Input([12], name="image")
        for _ in range(3):
            hidden = layers.Dense(32, activation="relu")(hidden)
        return keras.Model(inputs, layers.Dense(2)(hidden))

    teacher = build()
    teacher.compile(
        keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    teacher.fit(x, y, epochs=15, batch_size=50, verbose=0)
    agreement = {}
    for kind in ("plain", "aware"):
        student = build()
        student.set_weights(teacher.get_weights())
        twin = quantization_aware(student, weight_bits=3)
        distiller = Distiller(student=twin if kind == "aware" else student, teacher=teacher)
        terms = [SoftTargets(temperature=1.0, weight=1.0)]
        distiller.compile(keras.optimizers.Adam(0.002), terms=terms, hard_label_weight=0.0)
        distiller.fit(x, y, epochs=10, batch_size=50, verbose=0)
        agreement[kind] = np.mean(np.argmax(twin(x), 1) == np.argmax(teacher(x), 1))
    assert agreement["plain"] < 0.98 and agreement["aware"] > 0.985


@pytest.mark.parametrize("bits", [1, 17, 4.0, True, "8"])
def test_refuses_other_bits(student, bits):
    with pytest.raises(ValueError) as caught:
        quantization_aware(student, weight_bits=bits, embedding_bits=None, activation_bits=bits)
    message = str(caught.value)
    assert f"`weight_bits`: an int from 2 to 16. Received: weight_bits={bits!r}" in message
    assert "`embedding_bits`: an int from 2 to 16. Received: embedding_bits=None" in message
    assert "`activation_bits`: an int from 2 to 16 or None" in message


def test_refuses_what_gives_no_logits(student):
    probabilities = keras.Model(student.input, layers.Softmax()(student.outputs[0]))
    with pytest.raises(ValueError, match="`student`: logits"):
        quantization_aware(probabilities)
    with pytest.raises(TypeError, match="`student`: a Functional"):
        quantization_aware(layers.Dense(2))
