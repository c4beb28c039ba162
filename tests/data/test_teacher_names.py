from types import SimpleNamespace

import numpy as np

from mmkd_tf.data.teacher_names import keyed_outputs, named_teachers, output_key


def test_every_teacher_has_a_name():
    a, b = object(), object()
    assert named_teachers(a) == {"teacher": a}
    assert named_teachers([a, b]) == named_teachers((a, b)) == {"teacher_0": a, "teacher_1": b}
    assert named_teachers({"big": a, "image": b}) == {"big": a, "image": b}


def test_names_are_a_copy():
    given = {"big": object()}
    assert named_teachers(given) is not given


def test_an_output_is_named_after_its_teacher():
    assert output_key("big", "hidden") == "big/hidden"


def test_outputs_are_held_under_their_keys_with_the_marker_of_their_cache():
    outputs = {"logits": np.ones((3, 2), "float32"), "hidden": np.ones((3, 4, 5), "float32")}
    cache = SimpleNamespace(marker=lambda teacher_name: f"{teacher_name}/cache-7")
    keyed = keyed_outputs(outputs, cache=cache, teacher_name="big")
    assert list(keyed) == ["big/logits", "big/hidden", "big/cache-7"]
    assert keyed["big/logits"] is outputs["logits"] and keyed["big/hidden"] is outputs["hidden"]
    # One entry an example, so that the batch can be taken apart and put together.
    np.testing.assert_array_equal(keyed["big/cache-7"], np.zeros(3, "uint8"))
    assert keyed["big/cache-7"].dtype == "uint8"
