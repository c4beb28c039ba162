import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.export.contract import MAX_EXAMPLES, call_by_name, check_model


def image_model(*, name="image", channels=3, outputs=3, keys=None):
    image = keras.Input([8, 8, channels], name=name)
    logits = layers.Dense(outputs)(layers.Flatten()(image))
    return keras.Model({keys or name: image}, logits)


def check(model, class_names=("a", "b", "c"), examples=None):
    examples = {"image": np.zeros([2, 8, 8, 3])} if examples is None else examples
    return check_model(model, class_names=class_names, examples=examples)


def test_gives_the_first_examples_in_the_model_s_dtype():
    values = np.arange(250, dtype="int64")[:, None, None, None] + np.zeros([8, 8, 3], "int64")
    inputs = check(image_model(), examples={"image": values, "text": np.zeros([1, 4])})
    assert list(inputs) == ["image"]
    assert inputs["image"].dtype == np.float32
    np.testing.assert_array_equal(inputs["image"], values[:MAX_EXAMPLES])


def test_takes_one_output_in_a_dict():
    image = keras.Input([8, 8, 3], name="image")
    logits = layers.Dense(3)(layers.Flatten()(image))
    model = keras.Model({"image": image}, {"logits": logits})
    inputs = check(model)
    np.testing.assert_array_equal(call_by_name(model, inputs), model(inputs)["logits"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: image_model(name="image-1"), "inputs named as their modalities"),
        (lambda: image_model(keys="picture"), "inputs named as their modalities"),
        (lambda: image_model(channels=1), r"`image` of shape \[batch, height, width, 3\]"),
        (lambda: image_model(outputs=1), "logits of shape.*with 2 classes or more"),
        (lambda: image_model(outputs=4), "one for each of the model's 4 outputs"),
        (lambda: keras.Sequential([layers.Dense(3)]), "without symbolic inputs"),
    ],
)
def test_refuses_a_model(model, message):
    with pytest.raises(ValueError, match=message):
        check(model())


def test_refuses_two_outputs_and_a_state():
    text = keras.Input(batch_shape=[1, 4], dtype="int32", name="text")
    x = layers.LSTM(3, stateful=True, name="keeps")(layers.Embedding(9, 3)(text))
    model = keras.Model(text, [x, layers.Dense(3)(x)])
    with pytest.raises(ValueError) as caught:
        check(model, examples={"text": np.zeros([2, 4])})
    assert "one output" in str(caught.value)
    assert "layer 'keeps' with stateful=True" in str(caught.value)


@pytest.mark.parametrize("names", [["a", "a", "b"], ["a", "b", ""], ["a", "b", "c\nd"], [1, 2, 3]])
def test_refuses_class_names(names):
    with pytest.raises(ValueError, match="distinct texts of one line each"):
        check(image_model(), class_names=names)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ({"text": np.zeros([2, 4])}, r"Received: \['text'\], so \['image'\] are missing"),
        ({"image": np.zeros([2, 8, 9, 3])}, r"image of shape \['n', 8, 8, 3\]"),
        ({"image": np.zeros([0, 8, 8, 3])}, "at least one"),
    ],
)
def test_refuses_examples(examples, message):
    with pytest.raises(ValueError, match=message):
        check(image_model(), examples=examples)


def test_refuses_what_is_no_model():
    with pytest.raises(TypeError, match="model=str"):
        check("student.keras")
