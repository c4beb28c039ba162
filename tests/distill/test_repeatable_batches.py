import numpy as np
import pytest
import tensorflow as tf

from mmkd_tf.distill.fingerprints import InputsDigest, check_batches, unchanged

NUMBERS = np.arange(12, dtype="float32").reshape(6, 2)


def digest(inputs, *, batch_size=6, names=("a",)):
    result = InputsDigest(names)
    for start in range(0, 6, batch_size):
        result.update({name: v[start : start + batch_size] for name, v in inputs.items()})
    assert result.num_examples == 6
    return result.hexdigest()


def test_a_digest_does_not_depend_on_the_size_of_batches_or_other_inputs():
    expected = digest({"a": NUMBERS})
    assert digest({"a": NUMBERS}, batch_size=4) == expected
    assert digest({"a": tf.constant(NUMBERS), "b": NUMBERS + 1}) == expected


def test_a_digest_depends_on_values_order_type_shape_and_name():
    others = [
        digest({"a": NUMBERS + 1e-6}),
        digest({"a": NUMBERS[::-1]}),
        digest({"a": NUMBERS.view("int32")}),
        digest({"a": NUMBERS.reshape(6, 1, 2)}),
        digest({"b": NUMBERS}, names=("b",)),
        digest({"a": NUMBERS}),
    ]
    assert len(set(others)) == len(others)


def test_strings_count_by_what_they_say_and_where_they_end():
    def of(*texts):
        return digest({"a": tf.constant(texts)})

    assert of("ab", "c", "", "", "", "") == of("ab", "c", "", "", "", "")
    assert of("ab", "c", "", "", "", "") != of("a", "bc", "", "", "", "")


def passed(batches):
    result, digests = InputsDigest(["a"]), []
    for x in batches:
        result.update(x)
        digests.append(result.hexdigest())
    return digests


def test_batches_that_stay_are_given_and_others_refused():
    batches = tf.data.Dataset.from_tensor_slices({"a": NUMBERS}).batch(2)
    before = passed(batches)
    given = [x["a"].numpy() for x in unchanged(batches, ["a"], before)]
    np.testing.assert_array_equal(np.concatenate(given), NUMBERS)

    changed = batches.map(lambda x: {"a": tf.where(x["a"] > 8, 0.0, x["a"])})
    given = []
    with pytest.raises(ValueError, match="`batches`.*changed between two passes, first in batch 3"):
        given.extend(unchanged(changed, ["a"], before))
    assert len(given) == 2
    for other in (batches.take(2), batches.concatenate(batches)):
        with pytest.raises(ValueError, match="changed between two passes"):
            list(unchanged(other, ["a"], before))


def test_refuses_what_can_not_be_cached():
    batches = tf.data.Dataset.from_tensor_slices(({"a": NUMBERS}, np.arange(6))).batch(2)
    check_batches(batches, ["a"])
    with pytest.raises(TypeError, match="`batches`: a tf.data.Dataset.*Received: list"):
        check_batches([NUMBERS], ["a"])
    with pytest.raises(ValueError, match=r"`batches`: a finite number.*Leave out repeat\(\)"):
        check_batches(batches.repeat(), ["a"])
    with pytest.raises(TypeError, match=r"each of the teacher's inputs \['a', 'b'\].*'a': 'Tensor"):
        check_batches(batches, ["a", "b"])
    with pytest.raises(TypeError, match="x as a dict"):
        check_batches(batches.map(lambda x, y: (x["a"], y)), ["a"])
    with pytest.raises(TypeError, match="'a': 'RaggedTensorSpec'"):
        ragged = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [1, 2]])).batch(2)
        check_batches(ragged.map(lambda x: {"a": x}), ["a"])
