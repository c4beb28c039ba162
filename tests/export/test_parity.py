import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.export.parity import (
    check_logits,
    compare,
    difference,
    keras_logits,
    run_batches,
    run_both_ways,
    sizes_to_try,
    without,
)


@pytest.fixture(scope="module")
def model():
    image = keras.Input([4], name="series")
    logits = layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1))(image)
    return keras.Model(image, logits)


@pytest.fixture(scope="module")
def inputs():
    return {"series": np.random.default_rng(0).normal(size=(50, 4)).astype("float32")}


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_difference_of_known_values():
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]) + 7.0  # a constant changes nothing
    probabilities = np.array([[0.4, 0.35, 0.25], [0.45, 0.45, 0.1]])
    found = difference(logits=logits, probabilities=probabilities)
    assert found.max_abs_logit_difference == pytest.approx(np.log(8))  # 0.8 against 0.1
    assert found.top1_agreement == 0.5
    errors = np.log([0.8, 1.4, 1.0, 4.5, 4.5, 0.125])
    centred = np.log([0.5, 0.25, 0.25, 0.1, 0.1, 0.8])
    centred = centred - np.repeat(centred.reshape(2, 3).mean(axis=1), 3)
    assert found.relative_error == pytest.approx(np.sqrt(np.mean(errors**2) / np.mean(centred**2)))


def test_lost_probabilities_and_ties_are_no_difference():
    found = difference(
        logits=np.array([[0.0, -200.0, -300.0], [1.0, 1.0, 0.0]]),
        probabilities=np.array([[1.0, 0.0, 0.0], [0.42231879, 0.42231880, 0.15536241]]),
    )
    assert found.max_abs_logit_difference < 1e-6
    assert found.top1_agreement == 1.0


def test_bounds():
    logits = np.random.default_rng(0).normal(size=(40, 5))
    near = difference(logits=logits, probabilities=softmax(logits + 1e-3 * (logits > 0)))
    assert near.exceeds(exact=True)
    assert not near.exceeds(exact=False)
    exact = difference(logits=logits, probabilities=softmax(logits).astype("float32"))
    assert not exact.exceeds(exact=True)
    far = difference(logits=logits, probabilities=softmax(logits[::-1]))
    assert far.exceeds(exact=False)


def test_nearly_equal_classes_need_no_agreement():
    logits = 1e-3 * np.random.default_rng(0).normal(size=(40, 5))
    noise = 5e-5 * np.random.default_rng(1).normal(size=(40, 5))
    found = difference(logits=logits, probabilities=softmax(logits + noise))
    assert found.relative_error < 0.1
    assert not found.exceeds(exact=False)
    uniform = difference(logits=logits, probabilities=np.full([40, 5], 0.2))
    assert uniform.exceeds(exact=False)


def test_tells_how_the_file_did(model, inputs):
    expected = keras_logits(model, inputs)
    labels = np.where(
        np.arange(50) < 40, expected.argmax(axis=1), (expected.argmax(axis=1) + 1) % 3
    )

    def run(tensors):  # wrong by 1e-5 nats for the first class
        return softmax(keras_logits(model, tensors) + [1e-5, 0, 0])

    result = compare(model=model, run=run, inputs=inputs, exact=True, labels=labels)
    assert 5e-6 < result.max_abs_logit_difference < 2e-5
    assert result.top1_agreement == 1.0
    assert result.accuracy == result.keras_accuracy == 0.8
    assert result.num_examples == 50
    assert result.batch_sizes == (32, 3, 1)
    unlabelled = compare(model=model, run=run, inputs=inputs, exact=True, batch_size=4)
    assert unlabelled.accuracy is unlabelled.keras_accuracy is None
    assert unlabelled.batch_sizes == (4,)


def test_accuracy_is_the_files_own(model, inputs):
    labels = keras_logits(model, inputs).argmax(axis=1)

    largest = inputs["series"][:, 0].max()

    def run(tensors):  # wrong for one example
        probabilities = softmax(keras_logits(model, tensors))
        wrong = tensors["series"][:, :1] == largest
        return np.where(wrong, np.roll(probabilities, 1, axis=1), probabilities)

    result = compare(model=model, run=run, inputs=inputs, exact=False, labels=labels)
    assert result.top1_agreement == result.accuracy == 0.98
    assert result.keras_accuracy == 1.0


def test_the_file_may_take_inputs_of_its_own(model, inputs):
    file_inputs = {"series": (inputs["series"] * 64).astype("int8")}
    inputs = {"series": file_inputs["series"].astype("float32") / 64}

    def run(tensors):
        assert tensors["series"].dtype == np.int8
        return softmax(keras_logits(model, {"series": tensors["series"].astype("float32") / 64}))

    result = compare(model=model, run=run, inputs=inputs, file_inputs=file_inputs, exact=True)
    assert result.max_abs_logit_difference < 1e-6


@pytest.mark.parametrize("batch_size", [1, 4, None])
@pytest.mark.parametrize("exact", [True, False])
def test_a_file_that_keeps_a_state_fails(model, inputs, exact, batch_size):
    state = np.zeros(3)

    def run(tensors):
        nonlocal state
        rows = []
        for logits in keras_logits(model, tensors):
            state = 0.5 * state + logits
            rows.append(state)
        return softmax(np.array(rows))

    with pytest.raises(RuntimeError, match="keeps a state"):
        compare(model=model, run=run, inputs=inputs, exact=exact, batch_size=batch_size)


@pytest.mark.parametrize(("bad_size", "rest"), [(32, 18), (3, 2), (1, 1)])
def test_each_batch_size_is_compared(model, inputs, bad_size, rest):
    def run(tensors):
        wrong = len(tensors["series"]) in (bad_size, rest)
        return softmax(keras_logits(model, tensors) + wrong * np.array([1, 0, 0]))

    with pytest.raises(RuntimeError, match=f"On the examples in batches of {bad_size}: Diff"):
        compare(model=model, run=run, inputs=inputs, exact=True)


def test_absent_modalities_are_compared(model, inputs):
    def run(tensors):
        probabilities = softmax(keras_logits(model, tensors))
        absent = ~tensors["series"].any(axis=1)
        return np.where(absent[:, None], [[0.9, 0.05, 0.05]], probabilities)

    with pytest.raises(RuntimeError, match="On examples without series"):
        compare(model=model, run=run, inputs=inputs, exact=True)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (layers.Softmax(), "rows that sum to 1, as after a softmax"),
        (layers.Rescaling(np.nan), "NaN or infinity in Keras itself on the examples"),
    ],
)
def test_unfit_outputs_are_refused(model, inputs, last, message):
    unfit = keras.Model(model.inputs, last(model.outputs[0]))
    with pytest.raises(ValueError, match=message):
        compare(model=unfit, run=None, inputs=inputs, exact=True)


def test_nan_for_an_absent_modality_is_refused():
    series = keras.Input([4], name="series")
    norm = keras.ops.sqrt(keras.ops.sum(series**2, axis=1, keepdims=True))
    model = keras.Model(series, layers.Dense(3)(series / norm))
    inputs = {"series": np.ones([3, 4], "float32")}
    with pytest.raises(ValueError, match="Keras itself on examples without series"):
        compare(
            model=model,
            run=lambda tensors: softmax(keras_logits(model, tensors)),
            inputs=inputs,
            exact=True,
        )


@pytest.mark.parametrize(
    ("batch_size", "num_examples", "expected"),
    [
        (1, 50, (1,)),
        (8, 50, (8,)),
        (None, 500, (32, 3, 1)),
        (None, 96, (32, 5, 1)),
        (None, 12, (12, 5, 1)),
        (None, 1, (1, 3)),  # the rest of three is one
    ],
)
def test_sizes(batch_size, num_examples, expected):
    assert sizes_to_try(batch_size, num_examples=num_examples) == expected


def test_batches_are_as_large_as_asked_for_and_come_in_order():
    seen = []

    def run(tensors):
        seen.append(len(tensors["x"]))
        assert tensors["x"].flags.c_contiguous
        return tensors["x"] + tensors["y"]

    inputs = {"x": np.arange(7.0)[:, None], "y": np.ones([7, 1])}
    found = run_both_ways(run, inputs, 3)
    np.testing.assert_array_equal(found, np.arange(1.0, 8)[:, None])
    assert seen == [3, 3, 1, 3, 3, 1]
    assert run_batches(run, inputs, 7).shape == (7, 1)


def test_answers_that_depend_on_the_order_are_refused():
    calls = iter(range(100))
    with pytest.raises(RuntimeError, match="in batches of 2, so it keeps a state"):
        run_both_ways(lambda tensors: tensors["x"] + next(calls), {"x": np.zeros([4, 1])}, 2)


def test_one_modality_is_absent():
    inputs = {"x": np.ones([60, 2], "uint8"), "y": np.ones([60, 3])}
    found = without(inputs, "x")
    assert found["x"].shape == (50, 2) and found["x"].dtype == np.uint8 and not found["x"].any()
    np.testing.assert_array_equal(found["y"], np.ones([50, 3]))


def test_logits_come_in_order():
    series = keras.Input([4], name="series")
    model = keras.Model(series, layers.Dense(3)(series))
    values = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    kernel, bias = model.get_weights()
    found = keras_logits(model, {"series": values})
    np.testing.assert_allclose(found, values @ kernel + bias, atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([[0.2, np.nan]], "NaN or infinity in Keras itself on some examples"),
        ([[np.inf, 0.0]], "NaN or infinity in Keras itself on some examples"),
        ([[0.2, 0.8], [1.0, 0.0]], "rows that sum to 1, as after a softmax"),
    ],
)
def test_unfit_values_are_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        check_logits(np.array(logits), case="some examples")


def test_logits_pass():
    check_logits(np.array([[0.2, 0.8], [1.5, 0.0]]), case="some examples")
    check_logits(np.array([[1.2, -0.2]]), case="some examples")
