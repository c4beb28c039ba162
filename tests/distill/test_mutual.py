import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.distill.mutual import learn_mutually
from mmkd_tf.distill.terms import SoftTargets

CLASSES = 3
# Tracing takes longer than these few steps; the tests of turns and of learning run as graphs.
EAGERLY = {"run_eagerly": True}
X = np.random.default_rng(0).normal(size=(20, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, CLASSES, 20)


def student(seed, *, units=4, classes=CLASSES, between=()):
    inputs = {"image": keras.Input([5], name="image")}
    initial = keras.initializers.GlorotUniform(seed=seed)
    x = layers.Dense(units, activation="tanh", kernel_initializer=initial)(inputs["image"])
    for layer in between:
        x = layer(x)
    initial = keras.initializers.GlorotUniform(seed=seed + 100)
    return keras.Model(inputs, layers.Dense(classes, kernel_initializer=initial)(x))


def batches(*more):
    """Batches of 8, 8 and 4 examples."""
    return tf.data.Dataset.from_tensor_slices(({"image": X}, Y, *more)).batch(8)


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def by_hand(students, *, epochs, rate, temperature=1.0, weight=1.0, hard=1.0, alternating=True):
    """The paper's algorithm with plain gradients; without turns, all teach as they were."""
    for _ in range(epochs):
        for x, y in batches():
            said = [model(x) for model in students]
            for index, model in enumerate(students):
                if alternating:
                    said = [other(x) for other in students]
                with tf.GradientTape() as tape:
                    logits = model(x)
                    labels = tf.one_hot(y, CLASSES)
                    loss = hard * tf.nn.softmax_cross_entropy_with_logits(labels, logits)
                    for other, teaching in enumerate(said):
                        if other != index:
                            # The cross-entropy form has the gradient of the divergence.
                            loss += (
                                weight
                                * temperature**2
                                / (len(students) - 1)
                                * tf.nn.softmax_cross_entropy_with_logits(
                                    tf.nn.softmax(teaching / temperature), logits / temperature
                                )
                            )
                    loss = tf.reduce_mean(loss)
                variables = [weight.value for weight in model.trainable_variables]
                for variable, gradient in zip(
                    variables, tape.gradient(loss, variables), strict=True
                ):
                    variable.assign_sub(rate * gradient)


def weights(models):
    return np.concatenate([value.ravel() for model in models for value in model.get_weights()])


@pytest.mark.parametrize("num_students", [2, 3])
def test_students_take_turns_at_every_batch(num_students):
    seeds = range(num_students)
    expected, simultaneous = [student(s) for s in seeds], [student(s) for s in seeds]
    by_hand(expected, epochs=2, rate=0.5)
    by_hand(simultaneous, epochs=2, rate=0.5, alternating=False)
    students = [student(seed) for seed in seeds]
    learn_mutually(students, batches(), epochs=2, optimizer=keras.optimizers.SGD(0.5))
    np.testing.assert_allclose(weights(students), weights(expected), atol=1e-5)
    assert np.abs(weights(students) - weights(simultaneous)).max() > 1e-3


def test_terms_and_weights_are_those_given():
    arguments = {"temperature": 3.0, "weight": 0.7}
    expected, students = [student(0), student(1)], [student(0), student(1)]
    by_hand(expected, epochs=1, rate=0.5, hard=0.2, **arguments)
    learn_mutually(
        students,
        batches(),
        epochs=1,
        optimizer=keras.optimizers.SGD(0.5),
        terms=[SoftTargets(**arguments)],
        hard_label_weight=0.2,
        **EAGERLY,
    )
    np.testing.assert_allclose(weights(students), weights(expected), atol=1e-5)


def test_every_student_learns_and_teaching_changes_nothing_of_a_student():
    def normalised(seed):
        return student(seed, between=[layers.BatchNormalization(momentum=0.5)])

    students = {"one": normalised(0), "other": normalised(1)}
    expected = {}
    for name, model in students.items():
        first = keras.Model(model.input, model.layers[1].output)({"image": X})
        expected[name] = 0.5 * np.asarray(first).mean(0)  # one update from 0, in its own step
    before = {name: weights([model]) for name, model in students.items()}
    whole = tf.data.Dataset.from_tensor_slices(({"image": X}, Y)).batch(20)
    learn_mutually(students, whole, epochs=1, optimizer=keras.optimizers.SGD(0.5), **EAGERLY)
    for name, model in students.items():
        assert np.abs(weights([model]) - before[name]).max() > 1e-3
        moving_mean = model.layers[2].moving_mean
        np.testing.assert_allclose(np.asarray(moving_mean), expected[name], atol=1e-6)


def test_the_same_seeds_give_the_same_bits():
    def trained():
        students = [student(seed, between=[layers.Dropout(0.5, seed=seed)]) for seed in (0, 1)]
        history = learn_mutually(students, batches(), epochs=2, **EAGERLY)
        return weights(students), history

    (first, history), (second, again) = trained(), trained()
    np.testing.assert_array_equal(first, second)
    assert history == again


def test_history_has_the_means_over_all_examples_by_epoch():
    students = {"small": student(0), "large": student(1, units=9)}
    # At a rate of 0 nothing changes, so that the values can be computed from the weights.
    still = keras.optimizers.SGD(0.0)
    history = learn_mutually(
        students, batches(), epochs=2, validation_data=batches().take(1), optimizer=still, **EAGERLY
    )
    log_probs = {name: log_softmax(np.asarray(m({"image": X}))) for name, m in students.items()}
    for name, other in (("small", "large"), ("large", "small")):
        hard = -log_probs[name][np.arange(20), Y]
        soft = (np.exp(log_probs[other]) * (log_probs[other] - log_probs[name])).sum(-1)
        assert sorted(history[name]) == [
            "accuracy",
            "hard_label_loss",
            "loss",
            "soft_target_loss",
            "val_accuracy",
            "val_loss",
        ]
        accuracy = (log_probs[name].argmax(-1) == Y).mean()
        for key, value in {
            "loss": (hard + soft).mean(),
            "hard_label_loss": hard.mean(),
            "soft_target_loss": soft.mean(),
            "accuracy": accuracy,
            "val_loss": hard[:8].mean(),
        }.items():
            assert history[name][key] == pytest.approx([value] * 2, rel=1e-5), key


def test_both_fit_the_labels_and_agree_more_and_more():
    labels = (X[:, 0] > 0).astype("int64") + (X[:, 1] > 0)
    data = tf.data.Dataset.from_tensor_slices(({"image": X}, labels)).batch(20)
    optimizer = keras.optimizers.Adam(0.03)
    history = learn_mutually([student(0), student(1)], data, epochs=80, optimizer=optimizer)
    for values in history.values():
        assert values["accuracy"][-1] > 0.9
        assert values["soft_target_loss"][-1] < 0.2 * values["soft_target_loss"][0]


def test_sample_weights_are_passed_on():
    students = [student(0), student(1)]
    before = weights(students)
    learn_mutually(students, batches(np.zeros(20, "float32")), epochs=1, **EAGERLY)
    np.testing.assert_array_equal(weights(students), before)


def test_each_epoch_is_told():
    told = []
    history = learn_mutually(
        [student(0), student(1)],
        batches(),
        epochs=3,
        on_epoch_end=lambda epoch, logs: told.append((epoch, logs["student_2"]["loss"])),
        **EAGERLY,
    )
    assert told == list(enumerate(history["student_2"]["loss"]))


def test_the_optimizer_is_copied():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    learn_mutually([student(0), student(1)], batches(), epochs=1, optimizer=optimizer, **EAGERLY)
    assert not optimizer.built


@pytest.mark.parametrize("students", [[], [student(0)]], ids=len)
def test_fewer_than_two_students(students):
    with pytest.raises(ValueError, match="`students`: two or more models.*Received: [01]"):
        learn_mutually(students, batches(), epochs=1)


def test_a_model_is_no_list_of_students():
    with pytest.raises(TypeError, match="`students`: a list of models, or a dict.*Functional"):
        learn_mutually(student(0), batches(), epochs=1)


def test_a_student_is_not_its_own_teacher():
    one = student(0)
    with pytest.raises(ValueError, match="weights of its own.*shares 4 weights"):
        learn_mutually([one, one], batches(), epochs=1)


def test_students_of_other_classes():
    with pytest.raises(ValueError, match="the same classes.*3 classes.*4"):
        learn_mutually([student(0), student(1, classes=4)], batches(), epochs=1)


def test_all_wrong_arguments_are_listed():
    with pytest.raises(ValueError) as error:
        learn_mutually([student(0)], batches().repeat(), epochs=0, steps_per_execution=4)
    starts = [line.split(":")[0] for line in str(error.value).splitlines()]
    assert starts == ["`batches`", "`epochs`", "`students`", "`steps_per_execution`"]


def test_batches_without_labels_and_arrays():
    students = [student(0), student(1)]
    with pytest.raises(ValueError, match=r"`batches`: elements \(x, y\).*Map it"):
        learn_mutually(students, batches().map(lambda x, y: x), epochs=1)
    with pytest.raises(TypeError, match="`batches`: a tf.data.Dataset.*from_tensor_slices"):
        learn_mutually(students, ({"image": X}, Y), epochs=1)


def test_an_empty_dataset():
    with pytest.raises(ValueError, match="`batches`: at least one batch"):
        learn_mutually([student(0), student(1)], batches().take(0), epochs=1)
