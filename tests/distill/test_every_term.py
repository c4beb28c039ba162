"""What holds for each term with each loss it takes; a new term or loss needs a case here."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf import losses
from mmkd_tf.distill.distiller import Distiller, mean_over_batch
from mmkd_tf.distill.feature_terms import Hint, ModalityTerm, Relation
from mmkd_tf.distill.teacher_signals import TeacherSignals
from mmkd_tf.distill.teachers import Teachers, multi_output, output_shapes
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.models.fusion import Presence

CLASSES, BATCH = 4, 6
# Whose value of one example depends on the other examples of the batch.
OF_THE_BATCH = (
    losses.affinity_loss,
    losses.embedding_loss,
    losses.dist_loss,
    losses.contrastive_loss,
    losses.relational_distance_loss,
    losses.relational_angle_loss,
    losses.similarity_preserving_loss,
    losses.pkt_loss,
)


def every_term() -> dict:
    """All terms by name, each with every loss that it takes, over layers of unequal shapes."""
    vector, pair = "image_features", {"teacher": "map", "student": "image_features"}
    terms = {
        "soft": SoftTargets(name="soft"),
        "standardized": SoftTargets(loss_options={"standardize": True}, name="standardized"),
        "cross_entropy": SoftTargets(loss=losses.soft_target_cross_entropy, name="cross_entropy"),
        "decoupled": SoftTargets(loss=losses.decoupled_loss, name="decoupled"),
        "dist": SoftTargets(loss=losses.dist_loss, name="dist"),
        "sigmoid": SoftTargets(loss=losses.sigmoid_soft_target_loss, name="sigmoid"),
        "affinity": SoftTargets(loss=losses.affinity_loss, name="affinity"),
        "embedding": SoftTargets(None, loss=losses.embedding_loss, name="embedding"),
        "squared": SoftTargets(None, loss=losses.squared_loss, name="squared"),
        "hint_map": Hint("map", name="hint_map"),
        "hint_pair": Hint(pair, name="hint_pair"),
        "cosine": Hint("map", loss=losses.cosine_hint_loss, name="cosine"),
        "variational": Hint("map", loss=losses.variational_information_loss, name="variational"),
        "attention": Hint("map", loss=losses.attention_transfer_loss, name="attention"),
        # At a small scale, so that it shows which examples are the negatives.
        "contrastive": Hint(
            vector,
            loss=losses.contrastive_loss,
            loss_options={"logit_scale": 1.0},
            name="contrastive",
        ),
        "distance": Relation(vector, name="distance"),
        "angle": Relation("map", loss=losses.relational_angle_loss, name="angle"),
        "similarity": Relation("map", loss=losses.similarity_preserving_loss, name="similarity"),
        "pkt": Relation(vector, loss=losses.pkt_loss, name="pkt"),
        "modality": ModalityTerm("image", name="modality"),
        "modality_cosine": ModalityTerm(
            "text", loss=losses.cosine_hint_loss, name="modality_cosine"
        ),
        "modality_variational": ModalityTerm(
            "text", loss=losses.variational_information_loss, name="modality_variational"
        ),
        "modality_contrastive": ModalityTerm(
            "image",
            loss=losses.contrastive_loss,
            loss_options={"logit_scale": 1.0},
            name="modality_contrastive",
        ),
    }
    assert all(term.name == name for name, term in terms.items())
    return terms


NAMES = list(every_term())
each = pytest.mark.parametrize("name", NAMES)
PER_EXAMPLE = [name for name, term in every_term().items() if term.loss not in OF_THE_BATCH]


@keras.saving.register_keras_serializable("tests")
class Counting(layers.Layer):
    """Counts its calls."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs


def classifier(width, *, stride=1, seed=0):
    """A picture and a text, each encoded to features, with everything that terms read."""

    def initial(number):
        return keras.initializers.GlorotUniform(seed=10 * seed + number)

    image = keras.Input([4, 4, 2], name="image")
    text = keras.Input([3], name="text")
    x = layers.Conv2D(
        width, 3, strides=stride, padding="same", kernel_initializer=initial(0), name="map"
    )(Counting(name="counting")(image))
    x = layers.Flatten()(layers.Activation("relu")(x))
    x = layers.Dense(width, kernel_initializer=initial(1), name="image_features")(x)
    y = layers.Dense(width + 1, kernel_initializer=initial(2), name="text_features")(text)
    fused = layers.Concatenate()(
        [
            x * Presence(name="image_presence")(image),
            y * Presence(name="text_presence")(text),
        ]
    )
    fused = layers.Dropout(0.3, seed=seed)(fused) if stride == 1 else fused
    logits = layers.Dense(CLASSES, kernel_initializer=initial(3), dtype="float32", name="logits")
    return keras.Model({"image": image, "text": text}, logits(fused))


def student():
    return classifier(3, stride=2)


def drawn(batch=BATCH):
    """Examples of which one lacks its picture and one its text."""
    rng = np.random.default_rng(0)
    x = {"image": rng.normal(size=(batch, 4, 4, 2)), "text": rng.normal(size=(batch, 3))}
    x = {name: values.astype("float32") for name, values in x.items()}
    x["image"][1], x["text"][2] = 0, 0
    return x, rng.integers(0, CLASSES, batch).astype("int32")


def step_of_all_terms():
    """A function of (x, labels): each term's values and its gradients."""
    terms = list(every_term().values())
    teachers = Teachers({"teacher": classifier(5, seed=1)}, terms)
    small = student()
    model = multi_output(
        small, [layer for term in terms for layer in term.student_layers], argument="student"
    )
    projections = {}
    for term in terms:
        layer = term.projection(
            teacher_shapes=teachers.shapes("teacher"), student_shapes=output_shapes(model)
        )
        if layer is not None:
            projections[f"{term.name}/teacher"] = layer
    teaching = TeacherSignals(terms, projections)

    def step(x, labels):
        said, gradients = teachers(x), {}
        with tf.GradientTape(persistent=True) as tape:
            outputs = model(x, training=True)
            values = teaching(teachers=said, student=outputs, labels=labels, step=0)
        for name, value in zip(NAMES, values, strict=True):
            # By what the student gives, and by the weights of what it is projected with.
            projection = projections.get(f"{name}/teacher")
            weights = [w.value for w in projection.trainable_weights] if projection else []
            sources = [*outputs.values(), *weights]
            gradients[name] = tape.gradient(value, sources, unconnected_gradients="zero")
        return dict(zip(NAMES, values, strict=True)), gradients

    return step


@pytest.fixture(scope="module")
def ways():
    """What every term gives when the step is run in one way and another: `(expected, got)`."""
    step, (x, labels) = step_of_all_terms(), drawn()
    fewer = {name: values[:4] for name, values in x.items()}
    signature = [
        {name: tf.TensorSpec([None, *values.shape[1:]]) for name, values in x.items()},
        tf.TensorSpec([None], "int32"),
    ]
    graph = tf.function(step, input_signature=signature)
    eager = step(x, labels)
    return {
        "graph of unknown batch size": (eager, graph(x, labels)),
        "graph, fewer examples": (step(fewer, labels[:4]), graph(fewer, labels[:4])),
        "XLA": (eager, tf.function(step, jit_compile=True)(x, labels)),
    }


def test_every_loss_and_term_has_a_case():
    terms = every_term().values()
    assert {term.loss.__name__ for term in terms} == set(losses.__all__)
    assert {type(term) for term in terms} == {SoftTargets, Hint, Relation, ModalityTerm}


@each
@pytest.mark.parametrize("way", ["graph of unknown batch size", "graph, fewer examples", "XLA"])
def test_graph_and_xla_equal_eager(ways, name, way):
    (values, gradients), (got_values, got_gradients) = ways[way]
    assert got_values[name].dtype == "float32" and got_values[name].shape == values[name].shape
    np.testing.assert_allclose(got_values[name], values[name], rtol=1e-4, atol=1e-6)
    for got, expected in zip(got_gradients[name], gradients[name], strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * scale + 1e-7)


@each
def test_one_finite_value_an_example_that_moves_the_student(ways, name):
    (values, gradients), _ = ways["XLA"]
    assert values[name].shape == (BATCH,)
    assert np.isfinite(values[name]).all()
    # All but the variational, whose first term is a logarithm, are never negative.
    assert np.min(values[name]) > -1e-6 or "variational" in name
    sizes = [np.abs(gradient).max() for gradient in gradients[name]]
    assert np.isfinite(sizes).all() and max(sizes) > 1e-5


@each
def test_config_mirrors_the_arguments(name):
    term = every_term()[name]
    config = keras.saving.serialize_keras_object(term)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(term)
    assert keras.saving.serialize_keras_object(again) == config
    for attribute in ("name", "weight", "loss", "teacher", "teacher_layers", "student_layers"):
        assert getattr(again, attribute) == getattr(term, attribute)


@pytest.fixture(scope="module")
def selected():
    """Values of all terms of all rows, and of the rows 0, 2 and 5 alone."""
    step, (x, labels), rows = step_of_all_terms(), drawn(), [0, 2, 5]
    some = {name: values[rows] for name, values in x.items()}
    return step(x, labels)[0], step(some, labels[rows])[0]


@each
def test_rows_of_weight_zero_count_for_nothing(selected, name):
    values, some = selected[0][name], selected[1][name]
    weighted = mean_over_batch(values, np.array([1, 0, 1, 0, 0, 1]) * 2.0)
    if name in PER_EXAMPLE:
        assert float(weighted) == pytest.approx(float(np.mean(some)), rel=1e-4)
    else:  # the others are there to be compared with
        assert abs(float(weighted) - np.mean(some)) > 1e-6


@each
def test_half_precision_is_finite_and_moves_the_student(halves, name):
    values, gradients = halves
    assert values[name].dtype == "float32" and np.isfinite(values[name]).all()
    sizes = [np.abs(np.asarray(g, "float32")).max() for g in gradients[name]]
    assert np.isfinite(sizes).all() and max(sizes) > 1e-5


@pytest.fixture(scope="module")
def halves():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return step_of_all_terms()(*drawn())
    finally:
        keras.config.set_dtype_policy("float32")


def distiller(*names, teacher=None, optimizer=None, **arguments):
    model = Distiller(student=student(), teacher=teacher or classifier(5, seed=1))
    terms = [term for name, term in every_term().items() if name in (names or NAMES)]
    optimizer = optimizer or keras.optimizers.SGD(0.01)
    model.compile(optimizer, terms=terms, **arguments)
    return model


def same_weights(a, b, **tolerance):
    assert len(a.weights) == len(b.weights)
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def test_mixed_precision_trains_by_all_terms_at_once():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = distiller(run_eagerly=True, optimizer=keras.optimizers.SGD(0.01))
        before = [np.array(weight) for weight in model.trainable_weights]
        # The loss is scaled by less and less until its gradients fit.
        logs = [model.train_on_batch(*drawn(), return_dict=True) for _ in range(12)]
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite([list(each.values()) for each in logs]).all()
    moved = [np.abs(a - b).max() for a, b in zip(before, model.trainable_weights, strict=True)]
    assert np.isfinite(moved).all() and min(moved) > 0


def test_every_model_runs_once_a_step_and_no_teacher_changes():
    teachers = {"a": classifier(5, seed=1), "b": classifier(4, seed=2)}
    before = {name: [np.array(w) for w in teacher.weights] for name, teacher in teachers.items()}
    model = distiller(teacher=teachers, run_eagerly=True, on_wrong_teacher="correct")
    counts = [m.get_layer("counting") for m in (model.student, *teachers.values())]
    for counting in counts:
        counting.calls = 0
    x, y = drawn()
    history = model.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0).history
    assert [counting.calls for counting in counts] == [4, 4, 4]
    assert set(history) == {
        *(f"{name}_loss" for name in ("hard_label", *NAMES)),
        *("loss", "accuracy"),
    }
    for name, teacher in teachers.items():
        for a, b in zip(before[name], teacher.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_saved_distiller_goes_on_training_with_its_projections(tmp_path):
    x, y = drawn()
    teachers = {"b": classifier(4, seed=2), "a": classifier(5, seed=1)}
    model = distiller(
        teacher=teachers,
        optimizer=keras.optimizers.Adam(0.01),
        run_eagerly=True,
        teacher_weights={"a": 2.0, "b": 1.0},
        on_wrong_teacher="skip",
    )
    model.train_on_batch(x, y)
    model.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert list(loaded.teacher) == ["b", "a"]
    assert list(loaded.projections) == list(model.projections)
    same_weights(loaded, model, rtol=0)
    logs = [m.train_on_batch(x, y, return_dict=True) for m in (model, loaded)]
    assert logs[0] == logs[1]
    same_weights(loaded, model, rtol=0)


def test_sample_weight_trains_as_the_rows_that_it_selects():
    x, y = drawn()
    rows = np.array([0, 2, 5])
    some = {name: values[rows] for name, values in x.items()}
    weighted, alone = (distiller(*PER_EXAMPLE, run_eagerly=True) for _ in range(2))
    weighted.train_on_batch(x, y, sample_weight=2.0 * np.isin(np.arange(BATCH), rows))
    alone.train_on_batch(some, y[rows])
    same_weights(weighted, alone, atol=1e-6)


def test_two_replicas_train_as_one_device():
    x, y = drawn(7)  # of the last three one replica gets two
    names = ("soft", "decoupled", "hint_map", "hint_pair", "variational", "attention", "modality")
    assert set(names) <= set(PER_EXAMPLE)
    alone = distiller(*names)
    # Collectives of two strategies in one process get in each other's way.
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    assert strategy.num_replicas_in_sync == 2  # made in tests/conftest.py
    with strategy.scope():
        both = distiller(*names)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    histories = [model.fit(batches, epochs=2, verbose=0).history for model in (alone, both)]
    same_weights(alone, both, atol=1e-5)
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        assert values == pytest.approx(histories[1][name], rel=1e-3), name
