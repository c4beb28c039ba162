import keras
from keras import layers

from mmkd_tf.distill.fingerprints import teacher_fingerprints


def model(*, activation="relu", names=("image", "text"), inner="relu"):
    inputs = {name: keras.Input([3], name=name) for name in names}
    nested = keras.Sequential([keras.Input([6]), layers.Dense(4, activation=inner)])
    x = nested(layers.Concatenate()(list(inputs.values())))
    x = layers.BatchNormalization()(layers.Activation(activation)(x))
    return keras.Model(inputs, layers.Dense(2)(x))


def same_weights(original, **arguments):
    copy = model(**arguments)
    copy.set_weights(original.get_weights())
    return copy


def test_the_same_model_built_again_has_the_same_fingerprints(tmp_path):
    teacher = model()
    expected = teacher_fingerprints(teacher)
    assert all(len(checksum) == 64 for checksum in expected.values())
    assert teacher_fingerprints(same_weights(teacher)) == expected
    teacher.save(tmp_path / "teacher.keras")
    assert teacher_fingerprints(keras.models.load_model(tmp_path / "teacher.keras")) == expected


def test_freezing_and_compiling_change_nothing():
    teacher = model()
    expected = teacher_fingerprints(teacher)
    teacher.trainable = False
    teacher.compile("sgd", "mse")
    assert teacher_fingerprints(teacher) == expected


def test_another_weight_or_moving_average_is_another_teacher():
    teacher = model()
    before = teacher_fingerprints(teacher)
    average = next(weight for weight in teacher.weights if "moving_mean" in weight.path)
    average.assign(average.numpy() + 1e-3)
    after = teacher_fingerprints(teacher)
    assert after["teacher_weights"] != before["teacher_weights"]
    assert after["teacher_architecture"] == before["teacher_architecture"]


def test_another_architecture_with_the_same_weights_is_another_teacher():
    teacher = model()
    before = teacher_fingerprints(teacher)
    swapped = {"names": ("text", "image")}
    for arguments in ({"activation": "tanh"}, {"inner": "gelu"}, swapped):
        after = teacher_fingerprints(same_weights(teacher, **arguments))
        assert after["teacher_weights"] == before["teacher_weights"]
        assert after["teacher_architecture"] != before["teacher_architecture"]


class Unsaved(layers.Layer):
    """A layer that Keras can't describe: its argument is no plain value."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def test_a_model_that_cannot_be_saved_has_fingerprints_all_the_same():
    def build():
        x = keras.Input([2])
        return keras.Model(x, Unsaved(lambda x: 2 * x)(x))

    assert teacher_fingerprints(build()) == teacher_fingerprints(build())
