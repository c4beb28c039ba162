import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.losses import dist_loss, soft_target_loss

CLASSES = 4


def classifier(units, *, names=("image", "text"), classes=CLASSES, seed=0, **last):
    """A small model over vectors: the Distiller does not care what an input is."""
    inputs = {name: keras.Input([6], name=name) for name in names}
    values = list(inputs.values())
    x = layers.Concatenate()(values) if len(values) > 1 else values[0]
    initial = keras.initializers.GlorotUniform(seed=seed)
    x = layers.Dense(units, activation="relu", kernel_initializer=initial, name="hidden")(x)
    initial = keras.initializers.GlorotUniform(seed=seed + 1)
    logits = layers.Dense(classes, kernel_initializer=initial, name="logits", **last)(x)
    return keras.Model(inputs, logits)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(32, 6)).astype("float32") for name in ("image", "text")}
    return x, rng.integers(0, CLASSES, 32)


def distiller(student=None, teacher=None, **arguments):
    model = Distiller(student=student or classifier(5), teacher=teacher or classifier(9, seed=7))
    model.compile(keras.optimizers.SGD(0.1), **arguments)
    return model


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def expected_parts(model, x, y, temperature):
    student, teacher = np.asarray(model.student(x)), np.asarray(model.teacher(x))
    cross_entropy = -log_softmax(student)[np.arange(len(y)), y]
    p, q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    return cross_entropy, temperature**2 * (np.exp(p) * (p - q)).sum(-1)


def test_the_default_is_a_tenth_of_labels_and_nine_tenths_of_soft_targets(data):
    x, y = data
    model = distiller()
    hard, soft = expected_parts(model, x, y, temperature=4.0)
    history = model.fit(x, y, batch_size=32, verbose=0).history
    assert history["hard_label_loss"][0] == pytest.approx(hard.mean(), rel=1e-4)
    assert history["soft_target_loss"][0] == pytest.approx(soft.mean(), rel=1e-4)
    assert history["loss"][0] == pytest.approx(0.1 * hard.mean() + 0.9 * soft.mean(), rel=1e-4)


def test_the_step_is_the_gradient_of_that_loss(data):
    x, y = data
    model = distiller(terms=[SoftTargets(temperature=2.0, weight=0.7)], hard_label_weight=0.3)
    with tf.GradientTape() as tape:
        logits = model.student(x)
        log_probs = tf.nn.log_softmax(logits)
        hard = -tf.reduce_mean(tf.gather(log_probs, y, batch_dims=1))
        targets = tf.nn.softmax(model.teacher(x) / 2)
        # The cross-entropy form: it has the gradient of the divergence.
        soft = -4 * tf.reduce_mean(tf.reduce_sum(targets * tf.nn.log_softmax(logits / 2), -1))
        loss = 0.3 * hard + 0.7 * soft
    variables = model.student.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    expected = [v.numpy() - 0.1 * g.numpy() for v, g in zip(variables, gradients, strict=True)]
    model.fit(x, y, batch_size=32, verbose=0)
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, atol=1e-6)


def test_sample_weight_and_class_weight_reach_every_part(data):
    x, y = data
    weight = np.random.default_rng(1).uniform(size=32).astype("float32")
    model = distiller()
    hard, soft = expected_parts(model, x, y, temperature=4.0)
    history = model.fit(x, y, sample_weight=weight, batch_size=32, verbose=0).history
    assert history["hard_label_loss"][0] == pytest.approx((weight * hard).mean(), rel=1e-4)
    assert history["soft_target_loss"][0] == pytest.approx((weight * soft).mean(), rel=1e-4)

    model = distiller()
    class_weight = {0: 2.0, 1: 0.0, 2: 1.0, 3: 0.5}
    by_class = np.array([class_weight[label] for label in y])
    history = model.fit(x, y, class_weight=class_weight, batch_size=32, verbose=0).history
    assert history["hard_label_loss"][0] == pytest.approx((by_class * hard).mean(), rel=1e-4)


def test_rows_of_weight_zero_count_for_nothing(data):
    x, y = data
    weight = (np.arange(32) < 16).astype("float32")
    weighted, half = distiller(), distiller()
    weighted.fit(x, y, sample_weight=2 * weight, batch_size=32, verbose=0)
    half.fit({name: value[:16] for name, value in x.items()}, y[:16], batch_size=16, verbose=0)
    for a, b in zip(weighted.student.get_weights(), half.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_teacher_and_student_are_not_the_same_role(data):
    x, y = data
    a, b = classifier(5), classifier(5, seed=7)
    forward = distiller(student=a, teacher=b).fit(x, y, batch_size=32, verbose=0).history
    a, b = classifier(5), classifier(5, seed=7)
    swapped = distiller(student=b, teacher=a).fit(x, y, batch_size=32, verbose=0).history
    assert abs(forward["loss"][0] - swapped["loss"][0]) > 1e-3


def test_teacher_stays_bit_identical_and_out_of_the_weights(data):
    x, y = data
    inputs = {"image": keras.Input([6], name="image")}
    hidden = layers.BatchNormalization()(layers.Dense(8, kernel_regularizer="l2")(inputs["image"]))
    teacher = keras.Model(inputs, layers.Dense(CLASSES)(layers.Dropout(0.5)(hidden)))
    before = [value.copy() for value in teacher.get_weights()]
    model = distiller(teacher=teacher)
    model.trainable = True
    model.fit(x, y, epochs=3, verbose=0)
    assert len(model.trainable_weights) == len(model.student.trainable_weights) == 4
    assert not model.losses
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_student_runs_once_a_step(data):
    x, y = data
    calls = []

    class Counting(layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs

    inputs = {"image": keras.Input([6], name="image")}
    student = keras.Model(inputs, layers.Dense(CLASSES)(Counting()(inputs["image"])))
    model = distiller(student=student, run_eagerly=True)
    calls.clear()
    model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    assert len(calls) == 4


def test_regularisers_of_the_student_count(data):
    x, y = data
    student = classifier(5, kernel_regularizer=keras.regularizers.L2(0.5))
    penalty = 0.5 * (student.get_layer("logits").kernel.numpy() ** 2).sum()
    history = distiller(student=student).fit(x, y, batch_size=32, verbose=0).history
    parts = 0.1 * history["hard_label_loss"][0] + 0.9 * history["soft_target_loss"][0]
    assert history["loss"][0] == pytest.approx(parts + penalty, rel=1e-4)


def test_evaluate_and_predict_are_the_plain_students(data):
    x, y = data
    model = distiller()
    results = model.evaluate(x, y, verbose=0, return_dict=True)
    model.student.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    plain = model.student.evaluate(x, y, verbose=0, return_dict=True)
    assert results == pytest.approx(plain, rel=1e-5)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.student.predict(x, verbose=0))


def test_a_student_may_lack_an_input_of_the_teacher(data):
    x, y = data
    model = distiller(student=classifier(5, names=("text",)))
    history = model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0).history
    assert set(history) >= {"val_loss", "val_accuracy", "soft_target_loss"}
    assert model.predict({"text": x["text"]}, verbose=0).shape == (32, CLASSES)


@pytest.mark.parametrize(
    "arguments",
    [{"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}],
    ids=str,
)
def test_ways_to_run_a_step_give_the_same_weights(data, arguments):
    x, y = data
    plain, other = distiller(), distiller(**arguments)
    for model in (plain, other):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(plain.student.get_weights(), other.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_mixed_precision_moves_the_student_as_full_precision_does(data):
    x, y = data
    plain = distiller()
    start = plain.student.get_weights()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = distiller()
    finally:
        keras.config.set_dtype_policy("float32")
    half.student.set_weights(start)
    for model in (plain, half):
        model.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0)
    moved = [np.abs(a - b).max() for a, b in zip(plain.student.get_weights(), start, strict=True)]
    for a, b in zip(plain.student.get_weights(), half.student.get_weights(), strict=True):
        assert np.abs(a - b).max() < 0.05 * max(moved)


def test_one_device_and_two_replicas_give_the_same_weights(data):
    x, y = data
    cpu = tf.config.list_logical_devices("CPU")
    assert len(cpu) == 2  # made in tests/conftest.py
    alone = distiller()
    start = alone.student.get_weights()
    strategy = tf.distribute.MirroredStrategy([device.name for device in cpu[:2]])
    with strategy.scope():
        both = distiller()
    both.student.set_weights(start)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    histories = [model.fit(batches, epochs=2, verbose=0).history for model in (alone, both)]
    for a, b in zip(alone.student.get_weights(), both.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-4)


@pytest.mark.parametrize("loss", [soft_target_loss, dist_loss])
def test_a_saved_distiller_goes_on_training(data, tmp_path, loss):
    x, y = data
    model = distiller(terms=[SoftTargets(3.0, 0.5, loss)], hard_label_weight=0.5)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.terms[0].loss is loss
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))
    for m in (model, loaded):
        m.fit(x, y, shuffle=False, verbose=0)
    for a, b in zip(model.student.get_weights(), loaded.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_students_file_holds_the_student_alone(data, tmp_path):
    x, y = data
    model = distiller(teacher=classifier(20_000))
    model.fit(x, y, verbose=0)
    model.student.save(tmp_path / "student.keras")
    assert (tmp_path / "student.keras").stat().st_size < 50_000
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_callbacks_see_the_losses_by_name_and_can_restore_weights(data):
    x, y = data
    model = distiller()
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    model.fit(x, y, validation_data=(x, y), epochs=3, callbacks=[stop], verbose=0)
    assert stop.best == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-4)


def test_a_student_learns_its_teachers_answers():
    rng = np.random.default_rng(3)
    x = {name: rng.normal(size=(512, 6)).astype("float32") for name in ("image", "text")}
    teacher = classifier(64, seed=5)
    y = np.zeros(512, int)  # labels say nothing: all that is learned comes from the teacher
    model = Distiller(student=classifier(64), teacher=teacher)
    model.compile(keras.optimizers.Adam(0.01), hard_label_weight=0.0)
    teacher_says = teacher.predict(x, verbose=0).argmax(1)
    before = (model.predict(x, verbose=0).argmax(1) == teacher_says).mean()
    model.fit(x, y, epochs=40, shuffle=False, verbose=0)  # shuffling draws from a global seed
    after = (model.predict(x, verbose=0).argmax(1) == teacher_says).mean()
    assert after > 0.9 > before


def test_refuses_probabilities_and_says_how_to_mend_it(data):
    teacher = classifier(9, activation="softmax")
    with pytest.raises(ValueError, match=r"`teacher`: logits.*get_layer\('logits'\)") as error:
        Distiller(student=classifier(5), teacher=teacher)
    assert "activation = None" in str(error.value)
    teacher.get_layer("logits").activation = None
    Distiller(student=classifier(5), teacher=teacher)

    student = classifier(5)
    student = keras.Model(student.input, layers.Softmax(name="last")(student.output))
    with pytest.raises(ValueError, match="`student`: logits"):
        Distiller(student=student, teacher=teacher)
    mended = keras.Model(student.input, student.get_layer("last").input)
    Distiller(student=mended, teacher=teacher)


def test_refuses_models_that_do_not_fit(data):
    teacher = classifier(9)
    with pytest.raises(ValueError, match="4 classes.*Received|with 3 classes.*with 4"):
        Distiller(student=classifier(5, classes=3), teacher=teacher)
    with pytest.raises(ValueError, match="shares 4 weights"):
        Distiller(student=teacher, teacher=teacher)
    with pytest.raises(TypeError, match="`student`: a Functional"):
        Distiller(student=layers.Dense(3), teacher=teacher)
    with pytest.raises(ValueError, match="one output"):
        Distiller(student=classifier(5, classes=1), teacher=teacher)


def test_refuses_inputs_without_names_or_missing(data):
    x, y = data
    model = distiller()
    with pytest.raises(ValueError, match="a dict of inputs by name"):
        model.predict([x["image"], x["text"]], verbose=0)
    with pytest.raises(ValueError, match=r"missing: \['text'\]"):
        model.predict({"image": x["image"]}, verbose=0)


def test_refuses_losses_and_weights_that_would_be_wrong():
    model = Distiller(student=classifier(5), teacher=classifier(9))
    with pytest.raises(TypeError, match="`loss`: a keras.losses.Loss object"):
        model.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"from_logits=True"):
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy())
    with pytest.raises(ValueError, match="`hard_label_weight`: a finite number, 0 or more"):
        model.compile(hard_label_weight=-1)
    with pytest.raises(ValueError, match="at least one weight above 0"):
        model.compile(terms=[SoftTargets(weight=0.0)], hard_label_weight=0.0)
    with pytest.raises(ValueError, match="different names"):
        model.compile(terms=[SoftTargets(), SoftTargets()])
    with pytest.raises(ValueError, match="`temperature`"):
        SoftTargets(temperature=0)
