from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.data.batches import LABEL_WEIGHT
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.feature_terms import Hint
from mmkd_tf.distill.schedules import Constant, Cosine, Linear, WarmUp
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.losses import decoupled_loss, dist_loss, soft_target_loss

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
    arguments = {"terms": [SoftTargets()], "hard_label_weight": 0.1, **arguments}
    model.compile(keras.optimizers.SGD(0.1), **arguments)
    return model


def step(model, x, y, **arguments):
    """What one step logs, as numbers."""
    logs = model.train_on_batch(x, y, return_dict=True, **arguments)
    return {name: float(value) for name, value in logs.items()}


def linear(seed, *, names=("image", "text")):
    """A model without activation, so that NaN in an input shows in its logits."""
    inputs = {name: keras.Input([6], name=name) for name in names}
    values = list(inputs.values())
    x = layers.Concatenate()(values) if len(values) > 1 else values[0]
    initial = keras.initializers.GlorotUniform(seed=seed)
    return keras.Model(inputs, layers.Dense(CLASSES, kernel_initializer=initial)(x))


def cache_of(**layers_and_shapes):
    """What a Distiller asks of a cache: arrays of `[views, examples, ...]` by layer."""
    shapes = {name: (1, 32, *shape) for name, shape in layers_and_shapes.items()}
    return SimpleNamespace(outputs={name: np.zeros(shape) for name, shape in shapes.items()})


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def expected_parts(model, x, y, temperature):
    student, teacher = np.asarray(model.student(x)), np.asarray(model.teacher(x))
    cross_entropy = -log_softmax(student)[np.arange(len(y)), y]
    p, q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    return cross_entropy, temperature**2 * (np.exp(p) * (p - q)).sum(-1)


def test_the_default_is_that_of_a_run(data):
    x, y = data
    model = distiller()
    model.compile(keras.optimizers.SGD(0.1))
    hard, soft = expected_parts(model, x, y, temperature=2.0)
    history = model.fit(x, y, batch_size=32, verbose=0).history
    assert history["hard_label_loss"][0] == pytest.approx(hard.mean(), rel=1e-4)
    assert history["soft_target_loss"][0] == pytest.approx(np.mean(soft), rel=1e-4)
    assert history["loss"][0] == pytest.approx(hard.mean() + 0.5 * np.mean(soft), rel=1e-4)


def test_labels_count_as_the_batch_says(data):
    x, y = data
    model = distiller()
    hard, soft = expected_parts(model, x, y, temperature=4.0)
    counts = np.float32([2.0] * 16 + [0.0] * 16)  # the second half has no labels
    history = model.fit({**x, LABEL_WEIGHT: counts}, y, batch_size=32, verbose=0).history
    assert history["hard_label_loss"][0] == pytest.approx(hard[:16].mean(), rel=1e-4)
    assert history["soft_target_loss"][0] == pytest.approx(np.mean(soft), rel=1e-4)


def test_the_published_form_adds_softened_divergence_to_the_labels(data):
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


def test_mixed_precision_leaves_inputs_to_the_student(data):
    x, _ = data
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = {"image": keras.Input([6], name="image")}
        first = layers.Rescaling(100.0, offset=0.5, dtype="float32")(inputs["image"])
        student = keras.Model(inputs, layers.Dense(CLASSES, dtype="float32")(first))
        model = distiller(student=student, teacher=classifier(9))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(model(x), student({"image": x["image"]}))


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
    with pytest.raises(ValueError, match="student.*with 1 classes, teacher with 4"):
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


def test_logs_the_terms_by_name(data):
    x, y = data
    terms = [SoftTargets(name="first"), Hint("hidden", 0.5), SoftTargets(2.0, 0.3)]
    model = distiller(terms=terms, hard_label_weight=0.2, run_eagerly=True)
    history = model.fit(x, y, validation_data=(x, y), batch_size=32, verbose=0).history
    parts = {"hard_label": 0.2, "first": 0.9, "hint_hidden": 0.5, "soft_target": 0.3}
    names = [f"{name}_loss" for name in parts] + ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert sorted(history) == sorted(names)
    total = sum(weight * history[f"{name}_loss"][0] for name, weight in parts.items())
    assert history["loss"][0] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")], ids="".join)
def test_several_teachers_share_each_term(data, names):
    x, y = data
    teachers = {name: classifier(9, seed=seed) for seed, name in enumerate(names, 5)}
    soft = {}
    for name, teacher in teachers.items():
        _, soft[name] = expected_parts(distiller(teacher=teacher), x, y, temperature=4.0)
    logged = {}
    for given in (teachers, list(teachers.values())):
        model = distiller(teacher=given, run_eagerly=True)
        logged[type(given)] = step(model, x, y)["soft_target_loss"]
    assert logged[dict] == pytest.approx(np.mean(list(soft.values())), rel=1e-4)
    assert logged[list] == logged[dict]

    weights = dict(zip(names, (3.0, 1.0, 0.0), strict=False))
    model = distiller(teacher=teachers, teacher_weights=weights, run_eagerly=True)
    expected = (3 * soft["a"].mean() + soft["b"].mean()) / 4
    assert step(model, x, y)["soft_target_loss"] == pytest.approx(expected, rel=1e-4)


def test_teachers_of_one_modality_each_teach_a_student_of_both(data):
    x, y = data
    sight, reading = (classifier(9, names=(n,), seed=5) for n in ("image", "text"))
    terms = [SoftTargets(teacher="sight", name="seen"), SoftTargets(teacher="text", name="read")]
    model = distiller(teacher={"sight": sight, "text": reading}, terms=terms, run_eagerly=True)
    q = log_softmax(np.asarray(model.student(x)) / 4)
    logs = step(model, x, y)
    for teacher, modality, name in ((sight, "image", "seen"), (reading, "text", "read")):
        p = log_softmax(np.asarray(teacher({modality: x[modality]})) / 4)
        expected = 16 * (np.exp(p) * (p - q)).sum(1).mean()
        assert logs[f"{name}_loss"] == pytest.approx(expected, rel=1e-3)


def test_by_what_they_say_of_the_label_teachers_are_weighed_and_skipped(data):
    x, y = data
    teachers = {"a": classifier(9, seed=5), "b": classifier(9, seed=6)}
    arguments = {"teacher_weights": "label_loss", "on_wrong_teacher": "skip"}
    model = distiller(teacher=teachers, run_eagerly=True, **arguments)
    uncertain, right, soft = [], [], []
    for teacher in teachers.values():
        hard, divergence = expected_parts(distiller(student=teacher), x, y, temperature=4.0)
        uncertain.append(hard)
        right.append(np.asarray(teacher(x)).argmax(1) == y)
        soft.append(expected_parts(distiller(teacher=teacher), x, y, temperature=4.0)[1])
    shares = 1 - np.exp(uncertain) / np.exp(uncertain).sum(0)
    expected = (shares * np.array(right) * soft).sum(0).mean()
    assert 0 < np.mean(right) < 1
    assert step(model, x, y)["soft_target_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("together", [1, 3])
def test_schedules_follow_the_step(data, together):
    x, y = data
    # The student stands still, so that what is logged changes with the schedules alone.
    model = Distiller(student=classifier(5), teacher=classifier(9, seed=7))
    hot, cold = (expected_parts(model, x, y, t) for t in (4.0, 1.0))
    model.compile(
        keras.optimizers.SGD(0.0),
        terms=[
            SoftTargets(Linear(4.0, 1.0, num_steps=3), WarmUp(1.0, 3)),
            SoftTargets(1.0, Constant(0.5), name="other"),
        ],
        hard_label_weight=Cosine(1.0, 0.0, num_steps=3),
        steps_per_execution=together,
    )
    batches = tf.data.Dataset.from_tensors((x, y)).repeat(3)
    history = model.fit(batches, epochs=2, verbose=0).history
    temperatures, warm, hard = (4.0, 3.0, 2.0), (0.0, 1 / 3, 2 / 3), (1.0, 0.75, 0.25)
    soft = [expected_parts(model, x, y, t)[1].mean() for t in temperatures]
    assert history["soft_target_loss"][0] == pytest.approx(np.mean(soft), rel=1e-4)
    first = np.dot(warm, soft) + np.sum(hard) * hot[0].mean() + 3 * 0.5 * cold[1].mean()
    assert history["loss"][0] == pytest.approx(first / 3, rel=1e-4)
    assert history["soft_target_loss"][1] == pytest.approx(cold[1].mean(), rel=1e-4)
    assert history["loss"][1] == pytest.approx(1.5 * cold[1].mean(), rel=1e-4)


def test_schedules_go_on_after_loading(data, tmp_path):
    x, y = data
    terms = [SoftTargets(1.0, Linear(0.0, 1.0, num_steps=4))]
    model = distiller(terms=terms, hard_label_weight=0.0, run_eagerly=True)
    for _ in range(2):
        step(model, x, y)
    model.save(tmp_path / "distiller.keras")
    logs = step(keras.models.load_model(tmp_path / "distiller.keras"), x, y)
    assert logs["loss"] == pytest.approx(0.5 * logs["soft_target_loss"], rel=1e-5)


def test_schedules_count_steps_also_where_the_loss_is_scaled(data):
    x, y = data
    keras.config.set_dtype_policy("mixed_float16")
    try:
        student, teacher = classifier(5), classifier(9, seed=7)
    finally:
        keras.config.set_dtype_policy("float32")
    terms = [SoftTargets(1.0, Linear(0.0, 1.0, num_steps=4))]
    # Compiled outside the policy: the student's counts, as if it were compiled itself.
    model = distiller(student, teacher, terms=terms, hard_label_weight=0.0, run_eagerly=True)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    logs = [step(model, x, y) for _ in range(3)]
    weights = [each["loss"] / each["soft_target_loss"] for each in logs]
    assert weights == pytest.approx([0, 0.25, 0.5], rel=1e-4)


@pytest.mark.parametrize("form", ["[batch, 1]", "one-hot"])
def test_labels_in_other_forms_teach_the_same(data, form):
    x, y = data
    arguments = {"terms": [SoftTargets(loss=decoupled_loss)], "on_wrong_teacher": "correct"}
    expected = step(distiller(**arguments, run_eagerly=True), x, y)
    loss, labels, metrics = None, y[:, None], ["accuracy"]
    if form == "one-hot":
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        labels, metrics = np.eye(CLASSES)[y], ["categorical_accuracy"]
    model = distiller(**arguments, loss=loss, metrics=metrics, run_eagerly=True)
    logs = step(model, x, labels)
    assert logs.pop(metrics[0]) == expected.pop("accuracy")
    assert logs == pytest.approx(expected, rel=1e-5)


def test_cached_outputs_teach_as_the_live_teacher(data):
    x, y = data
    teacher = classifier(9, seed=7)
    hidden = keras.Model(teacher.input, teacher.get_layer("hidden").output)
    cached = {"teacher/logits": teacher(x).numpy(), "teacher/hidden": hidden(x).numpy()}
    kept = cache_of(logits=(CLASSES,), hidden=(9,))
    logs, weights = [], []
    for given, inputs in ((teacher, x), (kept, {**x, **cached})):
        model = distiller(teacher=given, terms=[SoftTargets(), Hint("hidden")])
        model.fit(inputs, y, batch_size=32, shuffle=False, verbose=0)
        logs.append(model.evaluate(inputs, y, verbose=0, return_dict=True))
        weights.append([np.array(weight) for weight in model.weights])
    assert logs[0] == logs[1]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_caches_and_models_teach_together(data):
    x, y = data
    live, gone = classifier(9, seed=7), classifier(9, seed=8)
    inputs = {**x, "gone/logits": gone(x).numpy().astype("float16")}
    model = distiller(teacher={"gone": cache_of(logits=(CLASSES,)), "live": live}, run_eagerly=True)
    soft = [expected_parts(distiller(teacher=t), x, y, 4.0)[1].mean() for t in (live, gone)]
    assert step(model, inputs, y)["soft_target_loss"] == pytest.approx(np.mean(soft), rel=1e-2)


def test_compiling_again_forgets_the_terms_before(data):
    x, y = data
    metrics = [keras.metrics.SparseCategoricalAccuracy("first")]
    model = distiller(terms=[SoftTargets(), Hint("hidden")], metrics=metrics, run_eagerly=True)
    assert set(step(model, x, y)) == {
        *("loss", "first", "hard_label_loss", "soft_target_loss", "hint_hidden_loss")
    }
    (projection,) = model.projections.values()

    model.compile(keras.optimizers.Adam(), terms=[SoftTargets(name="second")], run_eagerly=True)
    assert set(step(model, x, y)) == {"loss", "accuracy", "hard_label_loss", "second_loss"}
    ours = {id(weight) for weight in projection.weights}
    assert not ours & {id(weight) for weight in model.weights}
    assert len(model.trainable_weights) == len(model.student.trainable_weights) == 4
    assert len(model.optimizer.variables) == 2 + 2 * 4  # steps, learning rate, two means each

    model.compile(keras.optimizers.Adam(), terms=[Hint("hidden")], run_eagerly=True)
    step(model, x, y)
    assert len(model.trainable_weights) == 6
    assert len(model.optimizer.variables) == 2 + 2 * 6


def test_a_refused_call_leaves_all_as_it_was_compiled(data):
    x, y = data
    expected = distiller(terms=[Hint("hidden")], run_eagerly=True)
    model = distiller(terms=[Hint("hidden")], run_eagerly=True)
    for terms in ([SoftTargets(), Hint("nowhere")], [SoftTargets(teacher="nobody")]):
        with pytest.raises(ValueError, match="Received"):
            model.compile("adam", terms=terms)
    assert step(model, x, y) == step(expected, x, y)


def test_terms_of_like_names_keep_their_projections_apart(data):
    x, y = data
    teachers = {"x_y": classifier(9, seed=7), "y": classifier(7, seed=8)}
    terms = [Hint("hidden", teacher="x_y", name="hint"), Hint("hidden", teacher="y", name="hint_x")]
    model = distiller(teacher=teachers, terms=terms, run_eagerly=True)
    assert len(model.projections) == 2
    assert {"hint_loss", "hint_x_loss"} <= set(step(model, x, y))


def test_the_students_file_holds_no_projection(data, tmp_path):
    x, y = data
    model = distiller(terms=[SoftTargets(), Hint("hidden")], run_eagerly=True)
    before = model.projections["hint_hidden/teacher"].get_weights()
    step(model, x, y)
    assert np.abs(before[0] - model.projections["hint_hidden/teacher"].get_weights()[0]).max() > 0
    assert len(model.trainable_weights) == 6
    model.student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert [w.path for w in loaded.weights] == [w.path for w in model.student.weights]
    assert len(loaded.weights) == 4 and list(loaded.output_shape) == [None, CLASSES]


def test_a_distiller_compiled_outside_the_scope_of_its_replicas(data):
    x, y = data
    # Collectives of two strategies in one process get in each other's way.
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope():
        model = Distiller(student=classifier(5), teacher=classifier(9, seed=7))
    model.compile("sgd", terms=[Hint("hidden")])
    # The last batch leaves one replica without any example.
    x = {name: values[:5] for name, values in x.items()}
    history = model.fit(
        tf.data.Dataset.from_tensor_slices((x, y[:5])).batch(4), epochs=2, verbose=0
    ).history
    assert np.isfinite(history["hint_hidden_loss"]).all()
    assert history["hint_hidden_loss"][1] < history["hint_hidden_loss"][0]


def test_activities_in_half_precision_are_regularised_beside_weights_in_full(data):
    x, y = data
    inputs = {"image": keras.Input([6], name="image")}
    hidden = layers.Dense(5, kernel_regularizer="l2", dtype="mixed_float16")(inputs["image"])
    hidden = layers.ActivityRegularization(l2=0.1, dtype="mixed_float16")(hidden)
    student = keras.Model(inputs, layers.Dense(CLASSES)(hidden))
    model = distiller(student=student, run_eagerly=True)
    logs = step(model, x, y)
    penalties = logs["loss"] - 0.1 * logs["hard_label_loss"] - 0.9 * logs["soft_target_loss"]
    assert penalties > 0.01


@pytest.mark.parametrize("arguments", [{}, {"run_eagerly": True}, {"steps_per_execution": 2}])
def test_a_teacher_that_gives_nan_for_one_example(data, arguments):
    x, y = data
    x = {name: values.copy() for name, values in x.items()}
    x["image"][20, 3] = np.nan
    teachers = {"reading": linear(3, names=("text",)), "whole": linear(4)}
    model = distiller(classifier(5, names=("text",)), teachers, **arguments)
    with pytest.raises(ValueError, match=r"`teacher`: finite values.*'whole/logits'.*Look for NaN"):
        model.fit(x, y, batch_size=8, verbose=0)


def test_other_failures_of_a_step_stay_what_they_are(data):
    x, y = data

    def refuse(values):
        tf.debugging.assert_less(values, -1e9)
        return values

    inputs = {"image": keras.Input([6], name="image")}
    logits = layers.Lambda(refuse)(layers.Dense(CLASSES)(inputs["image"]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        distiller(keras.Model(inputs, logits), run_eagerly=True).fit(x, y, verbose=0)


def test_refuses_terms_that_name_what_is_not_there():
    model = Distiller(student=classifier(5), teacher={"eye": classifier(9)})
    with pytest.raises(ValueError, match=r"`terms`: teachers .*\['eye'\].*teacher='ear'"):
        model.compile(terms=[SoftTargets(teacher="ear")])
    with pytest.raises(ValueError, match=r"`eye`: .*without \['map'\].*'hidden', 'logits'\]"):
        model.compile(terms=[Hint({"teacher": "map", "student": "hidden"})])
    with pytest.raises(ValueError, match=r"`student`: .*without \['map'\].*'hidden', 'logits'\]"):
        model.compile(terms=[Hint({"teacher": "hidden", "student": "map"})])


def test_refuses_caches_and_batches_that_lack_what_a_term_reads(data):
    x, y = data
    model = Distiller(student=classifier(5), teacher=cache_of(logits=(CLASSES,)))
    with pytest.raises(ValueError, match=r"`teacher`: a cache.*without \['hidden'\].*layers="):
        model.compile(terms=[Hint("hidden")])
    model.compile()
    with pytest.raises(ValueError, match=r"`x`: .*without \['teacher/logits'\].*soft_targets="):
        model.fit(x, y, verbose=0)
