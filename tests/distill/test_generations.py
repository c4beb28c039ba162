import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.generations import born_again
from mmkd_tf.distill.terms import SoftTargets

CLASSES = 3
# Tracing takes longer than these few steps; the tests of teaching and learning run as graphs.
EAGERLY = {"run_eagerly": True}
X = np.random.default_rng(0).normal(size=(20, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, CLASSES, 20)
BATCHES = tf.data.Dataset.from_tensor_slices(({"image": X}, Y)).batch(8)


def student(generation, classes=CLASSES):
    inputs = {"image": keras.Input([5], name="image")}
    initial = keras.initializers.GlorotUniform(seed=generation)
    x = layers.Dense(4, activation="tanh", kernel_initializer=initial)(inputs["image"])
    initial = keras.initializers.GlorotUniform(seed=generation + 100)
    return keras.Model(inputs, layers.Dense(classes, kernel_initializer=initial)(x))


def weights(model):
    return np.concatenate([value.ravel() for value in model.get_weights()])


def sgd():
    return keras.optimizers.SGD(0.5, momentum=0.9)


def test_each_generation_is_taught_by_the_one_before():
    expected = [student(number) for number in range(3)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected[0].compile(sgd(), loss)
    expected[0].fit(BATCHES, epochs=2, shuffle=False, verbose=0)
    for number in (1, 2):
        distiller = Distiller(student=expected[number], teacher=expected[number - 1])
        distiller.compile(sgd(), terms=[SoftTargets(1.0, 1.0)], hard_label_weight=1.0)
        distiller.fit(BATCHES, epochs=2, shuffle=False, verbose=0)

    before = [weights(student(number)) for number in range(3)]
    models, _ = born_again(student, BATCHES, num_generations=3, epochs=2, optimizer=sgd())
    for model, reference, initial in zip(models, expected, before, strict=True):
        np.testing.assert_array_equal(weights(model), weights(reference))
        assert np.abs(weights(model) - initial).max() > 1e-3


def test_the_same_seeds_give_the_same_histories():
    first = born_again(student, BATCHES, num_generations=2, epochs=2, **EAGERLY)
    second = born_again(student, BATCHES, num_generations=2, epochs=2, **EAGERLY)
    assert first[1] == second[1]
    np.testing.assert_array_equal(weights(first[0][1]), weights(second[0][1]))


def test_histories_by_generation_and_epoch():
    _, histories = born_again(
        student, BATCHES, num_generations=2, epochs=3, validation_data=BATCHES.take(1), **EAGERLY
    )
    own = {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert set(histories[0]) == own
    assert set(histories[1]) == own | {"hard_label_loss", "soft_target_loss"}
    assert {len(values) for history in histories for values in history.values()} == {3}


def test_arguments_reach_teachers_and_labels():
    models, histories = born_again(
        student,
        BATCHES,
        num_generations=2,
        epochs=1,
        metrics=["sparse_top_k_categorical_accuracy"],
        terms=[SoftTargets(2.0, 0.5, name="dark_knowledge")],
        hard_label_weight=0.0,
        on_wrong_teacher="skip",
        **EAGERLY,
    )
    assert set(histories[0]) == {"loss", "sparse_top_k_categorical_accuracy"}
    values = {name: value[0] for name, value in histories[1].items()}
    assert values["loss"] == pytest.approx(0.5 * values["dark_knowledge_loss"], rel=1e-5)
    assert values["hard_label_loss"] > 0.0


def test_the_next_generation_fits_the_one_before():
    _, histories = born_again(
        student, BATCHES, num_generations=2, epochs=60, optimizer=keras.optimizers.Adam(0.03)
    )
    assert histories[1]["soft_target_loss"][-1] < 0.2 * histories[1]["soft_target_loss"][0]


def test_callbacks_are_made_for_each_generation():
    seen = []

    def callbacks(generation):
        append = seen.append
        return [
            keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: append((generation, e)))
        ]

    born_again(student, BATCHES, num_generations=2, epochs=2, make_callbacks=callbacks, **EAGERLY)
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_the_optimizer_is_copied():
    optimizer = sgd()
    born_again(student, BATCHES, num_generations=2, epochs=1, optimizer=optimizer, **EAGERLY)
    assert not optimizer.built


def test_all_wrong_arguments_are_listed():
    with pytest.raises(ValueError) as error:
        born_again(student, BATCHES.repeat(), num_generations=1, epochs=0.5)
    starts = [line.split(":")[0] for line in str(error.value).splitlines()]
    assert starts == ["`batches`", "`num_generations`", "`epochs`"]


def test_arrays_are_no_batches():
    with pytest.raises(TypeError, match="`batches`: a tf.data.Dataset.*from_tensor_slices"):
        born_again(student, X, num_generations=2, epochs=1)


def test_one_model_is_not_two_generations():
    one = student(0)
    with pytest.raises(ValueError, match="`make_student`: a new model at each call"):
        born_again(lambda generation: one, BATCHES, num_generations=2, epochs=1)


def test_generations_share_no_weights():
    one = student(0)
    shared = keras.Model(one.input, layers.Dense(CLASSES)(one.layers[1].output))
    with pytest.raises(ValueError, match="weights of its own.*shares 2 weights"):
        born_again([one, shared].__getitem__, BATCHES, num_generations=2, epochs=1)


def test_generations_have_the_same_classes():
    with pytest.raises(ValueError, match="the same classes.*4 classes.*3"):
        born_again(lambda n: student(n, CLASSES + n), BATCHES, num_generations=2, epochs=1)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"terms": [SoftTargets(teacher="nobody")]}, ValueError, "nobody"),
        ({"loss": "sparse_categorical_crossentropy"}, TypeError, "`loss`: a keras.losses.Loss"),
        ({"hard_label_weight": -1.0}, ValueError, "`hard_label_weight`: .* 0 or more"),
    ],
    ids=["terms", "loss", "weight"],
)
def test_what_is_wrong_with_later_generations_shows_before_training(arguments, kind, message):
    models = [student(0), student(1)]
    before = weights(models[0])
    with pytest.raises(kind, match=message):
        born_again(models.__getitem__, BATCHES, num_generations=2, epochs=1, **arguments)
    np.testing.assert_array_equal(weights(models[0]), before)
