import numpy as np

from mmkd_tf.models.fusion import Concatenation, Presence


def test_by_hand(features, presence):
    presence["text"][:] = 0
    fused = Concatenation()(features, presence)
    expected = np.concatenate([features["image"], np.zeros_like(features["text"])], axis=1)
    np.testing.assert_array_equal(fused, expected)


def test_presence_looks_for_any_value_that_is_not_zero():
    ids = np.array([[0, 0, 0], [0, 0, 9], [-1, 0, 0]], "int32")
    np.testing.assert_array_equal(Presence()(ids), [[0], [1], [1]])
    pictures = np.zeros([2, 8, 8, 3], np.uint8)
    pictures[1, 7, 7, 2] = 1
    np.testing.assert_array_equal(Presence()(pictures), [[0], [1]])
