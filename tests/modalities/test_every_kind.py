"""One battery for all kinds of input: absence, seeds, names, settings."""

import pickle
from datetime import datetime
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_tf.edge.series import read_series
from mmkd_tf.edge.tokenizer import split_words
from mmkd_tf.modalities import KINDS, input_options, register_modality
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import InputOptions, is_absent, select
from mmkd_tf.models import build_student, build_teacher, fusion_by_name

SIZE = 16


def pictures():
    """Present ones of every darkness: noise, ones, and a single value anywhere."""
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, [SIZE, SIZE, 3]), np.ones([SIZE, SIZE, 3])]
    made += [np.full([SIZE, SIZE, 3], 255), rng.integers(0, 2, [SIZE, SIZE, 3])]
    for row, column, value in ((0, 0, 1), (SIZE - 1, 3, 1), (7, 8, 2), (0, SIZE - 1, 255)):
        one = np.zeros([SIZE, SIZE, 3])
        one[row, column, 1] = value
        made.append(one)
    return np.stack(made).astype("uint8")


def clouds():
    """Noise, points far away or all in one place, and a single number anywhere."""
    rng = np.random.default_rng(0)
    made = [rng.standard_normal([16, 3]), 1e3 + rng.random([16, 3]), np.ones([16, 3])]
    for row, column, value in ((0, 0, 1e-6), (15, 2, 1e-6), (3, 1, -1e6)):
        one = np.zeros([16, 3])
        one[row, column] = value
        made.append(one)
    return np.stack(made).astype("float32")


def series():
    """Present ones: noise, silence, constant, a single known step, huge numbers; any length."""
    rng = np.random.default_rng(0)
    made = [rng.standard_normal([12, 3]), np.zeros([12, 3]), np.full([30, 3], 7.0), np.ones([1, 3])]
    made += [np.full([12, 3], 3e38), np.full([50, 3], -1e-30), rng.standard_normal([5, 3])]
    for step in (0, 11):
        made.append(np.full([12, 3], np.nan))
        made[-1][step] = 0
    return [read_series(one) for one in made]


def sounds():
    """Present ones of every loudness and length: noise, silence, a single sample."""
    rng = np.random.default_rng(0)
    made = [rng.uniform(-1, 1, 2400), np.full(4000, 2.0**-15), 1e-4 * rng.normal(size=900)]
    for place, value in ((0, 2.0**-15), (2999, -1.0), (3999, 2.0**-15)):
        one = np.zeros(4000)
        one[place] = value
        made.append(one)
    return [sound.astype("float32") for sound in made]


def sets():
    """Sets of two pictures: of every darkness, and each alone."""
    both = np.stack([pictures(), pictures()[::-1]], axis=1)
    first, second = both[:2].copy(), both[2:4].copy()
    first[:, 1], second[:, 0] = 0, 0
    return np.concatenate([both, first, second])


# By kind, or kind and a form of it: present raw values, extreme ones among them; absent ones;
# options, a student's too where the kind has them.
VALUES = {
    "image": (
        pictures(),
        np.zeros([2, SIZE, SIZE, 3], "uint8"),
        {"size": SIZE, "student": {"size": 8}},
    ),
    "image, a set": (
        sets(),
        np.zeros([2, 2, SIZE, SIZE, 3], "uint8"),
        {"kind": "image", "columns": ["a", "b"], "size": SIZE, "student": {"size": 8}},
    ),
    "text": (
        ["red cup", "x", "茶", "7", "ÀÉ", "word " * 50, "a-b", "\u200bq", "a b", "unheard of"],
        ["", " !? "],
        {"length": 6, "student": {"length": 1, "vocabulary_size": 3}},
    ),
    "tabular": (
        [
            (3.5, "red", datetime(1970, 1, 1)),
            (-1e30, "red", datetime(2022, 1, 8, 6)),
            (0.0, 'a "b", c', None),
            (None, 'a "b", c', None),
            (None, "never twice", None),
            (2.0, None, datetime(1901, 7, 21)),
        ],
        [(None, None, None)] * 2,
        {"columns": ["price", "colour", "built"]},
    ),
    "points": (clouds(), np.zeros([2, 16, 3], "float32"), {"points": 16, "normalize": False}),
    "series": (
        series(),
        [np.zeros([0, 1], np.float32), read_series(np.full([9, 3], np.nan))],
        {"length": 16, "student": {"length": 6}},
    ),
    "audio": (
        sounds(),
        [np.zeros(0, "float32"), np.zeros(4000, "float32")],
        {"rate": 8000, "seconds": 0.5, "student": {"seconds": 0.2}},
    ),
}
every_kind = pytest.mark.parametrize("kind", VALUES)


def class_of(kind):
    return KINDS[kind.partition(",")[0]]


def fitted(kind, name="first"):
    """The forms of the input, the student's last, and raw values, the present ones first."""
    present, absent, options = VALUES[kind]
    options = input_options({"kind": kind, **options})
    values = (
        np.concatenate([present, absent])
        if isinstance(present, np.ndarray)
        else [*present, *absent]
    )
    modality = class_of(kind).fit(name, select(values, range(len(present))), options)
    students = modality.for_student(values, **options.student_changes)
    return [modality] if students is None else [modality, students], values, len(present)


def like(values, made):
    """Values of a list as the kind keeps raw ones."""
    return np.stack(made) if isinstance(values, np.ndarray) else made


def check_presence(tensors, num_present):
    expected = np.arange(len(tensors)) >= num_present
    np.testing.assert_array_equal(is_absent(np.asarray(tensors)), expected)


def test_every_kind_is_tried():
    assert {kind.partition(",")[0] for kind in VALUES} == set(KINDS)


@every_kind
def test_what_is_there_stays_there_and_what_is_absent_stays_absent(kind):
    forms, values, num_present = fitted(kind)
    modality = forms[0]
    np.testing.assert_array_equal(modality.absent(values), np.arange(len(values)) >= num_present)
    for form in forms:
        tensors = form.to_tensor(values)
        check_presence(tensors, num_present)
        for view in range(60):
            seeds = np.stack([np.arange(len(values)), np.full(len(values), view)], 1)
            for change in (form.augment, form.corrupt):
                check_presence(change(tensors, seeds.astype("int32")), num_present)
        decoded = form.decode(form.encode(np.asarray(tensors))).numpy()
        check_presence(decoded, num_present)
        np.testing.assert_array_equal(form.decode(form.encode(decoded)), decoded)


@every_kind
def test_a_fitted_input_can_be_sent_to_another_process(kind):
    forms, values, _ = fitted(kind)
    forms[0].strength = 0.5
    for form in forms:
        copy = pickle.loads(pickle.dumps(form))
        assert (copy.name, copy.strength) == (form.name, form.strength)
        assert copy.fingerprint() == form.fingerprint() and copy.describe() == form.describe()
        np.testing.assert_array_equal(copy.to_tensor(values), form.to_tensor(values))


@every_kind
def test_no_damage_takes_all_of_a_value(kind):
    (modality, *_), values, num_present = fitted(kind)
    present = select(values, range(num_present))
    for damage in modality.damages.values():
        assert damage.amounts and len(set(damage.levels)) == 1 + len(damage.amounts)
        for amount in damage.amounts:
            for seed in range(10):
                rng = np.random.default_rng(seed)
                damaged = [damage.change(value, amount, rng) for value in present]
                damaged = like(values, damaged)
                check_presence(modality.to_tensor(damaged), num_present)
                assert not modality.absent(damaged).any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_drawn_value_is_there_or_not_all_the_way(data):
    kind = data.draw(st.sampled_from(["image", "text"]))
    forms, _, _ = fitted(kind)
    modality = forms[0]
    if kind == "image":
        cells = data.draw(
            st.lists(st.tuples(st.integers(0, SIZE * SIZE * 3 - 1), st.integers(0, 4)))
        )
        values = np.zeros([1, SIZE, SIZE, 3], "uint8")
        for place, value in cells:
            values.reshape(-1)[place] = value
        there = bool(values.any())
    else:
        values = [data.draw(st.text(st.characters(exclude_categories=["Cs"])))]
        there = bool(split_words(values[0]))
    seed = data.draw(st.integers(0, 2**31 - 1))
    assert modality.absent(values).tolist() == [not there]
    for form in forms:
        tensors = form.to_tensor(values)
        check_presence(tensors, int(there))
        for change in (form.augment, form.corrupt):
            check_presence(change(tensors, np.array([[seed, 1]], "int32")), int(there))
    for damage in modality.damages.values() if there else ():
        rng = np.random.default_rng(seed)
        damaged = [damage.change(values[0], data.draw(st.sampled_from(damage.amounts)), rng)]
        check_presence(
            modality.to_tensor(np.stack(damaged) if isinstance(values, np.ndarray) else damaged), 1
        )


@every_kind
def test_a_view_belongs_to_its_seed(kind):
    (modality, *_), values, _ = fitted(kind)
    tensors = np.asarray(modality.to_tensor(values))
    seeds = np.stack([np.arange(len(values)), np.full(len(values), 5)], 1).astype("int32")
    for change in (modality.augment, modality.corrupt):
        together = np.asarray(change(tensors, seeds))
        for row in range(len(values)):
            alone = change(tensors[row : row + 1], seeds[row : row + 1])
            np.testing.assert_array_equal(together[row], np.asarray(alone)[0])


@every_kind
def test_equal_values_share_a_content_key(kind):
    (modality, *_), values, _ = fitted(kind)
    keys = modality.content_keys(select(values, [0, 1, 0]))
    assert keys[0] == keys[2] != keys[1] and all(isinstance(key, bytes) for key in keys)


@every_kind
@pytest.mark.parametrize("fusion", ["concatenation", "cross_attention"])
def test_two_inputs_of_one_kind_have_layers_of_their_own(kind, fusion):
    modalities = {name: fitted(kind, name)[0][0] for name in ("first", "second")}
    data = SimpleNamespace(modalities=modalities, num_classes=3)
    tensors = np.asarray(modalities["first"].to_tensor(fitted(kind)[1]))
    for build, role in ((build_teacher, "teacher"), (build_student, "student")):
        model = build(data, fusion=fusion_by_name(fusion, role))
        names = [layer.name for layer in model.layers]
        assert len(set(names)) == len(names)
        assert all(model.get_layer(f"{name}_features") for name in modalities)
        own = {n.removeprefix("first") for n in names if n.startswith("first")}
        assert own == {n.removeprefix("second") for n in names if n.startswith("second")}
        assert model({"first": tensors, "second": tensors}).shape == (len(tensors), 3)


@every_kind
def test_no_kind_claims_the_inputs_of_another(kind):
    name = class_of(kind).kind
    modality = fitted(kind, name)[0][0]
    tensor = modality.input()
    assert tensor.name == name == modality.kind
    found = list(filter(None, (cls.of_tensor(tensor) for cls in KINDS.values())))
    assert {each.kind for each in found} <= {name}
    assert all(each.input().shape == tensor.shape for each in found)
    assert isinstance(modality.file_description(tensor.dtype), dict)


@every_kind
def test_people_are_told_what_it_is(kind):
    assert class_of(kind).noun and class_of(kind).missing() and fitted(kind)[0][0].describe()


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_made_by_kind_and_checked(kind):
    options = input_options({"kind": kind, "column": "c"})
    assert type(options) is KINDS[kind].Options and options.column == "c"
    assert input_options(options) is options
    assert input_options(options.model_dump()) == options
    with pytest.raises(ValueError, match="sizes"):
        input_options({"kind": kind, "sizes": 3})
    with pytest.raises(ValueError, match="student"):
        input_options({"kind": kind, "student": {"sizes": 3}})


@pytest.mark.parametrize("value", [{}, {"kind": "smell"}, {"kind": ["image"]}, "image", None])
def test_options_of_no_known_kind_are_refused(value):
    with pytest.raises(ValueError, match="its `kind`, one of image, text.*Received"):
        input_options(value)


@pytest.mark.parametrize(
    ("feature", "kinds"),
    [
        (tfds.features.Image(shape=(8, 8, 3)), ["image"]),
        (tfds.features.Text(), ["text"]),
        (tfds.features.ClassLabel(num_classes=3), []),
        (tfds.features.Scalar(np.int64), []),
        (tfds.features.Tensor(shape=(3,), dtype=np.float32), []),
        (tfds.features.Audio(), []),
    ],
)
def test_features_of_a_tensorflow_dataset_are_known_by_kind(feature, kinds):
    assert [kind for kind, cls in KINDS.items() if cls.fits_feature(feature)] == kinds


def test_a_kind_of_ones_own_is_registered_once():
    class Smell(Image):
        kind = "smell"
        Options = InputOptions

    try:
        assert register_modality(Smell) is Smell and register_modality(Smell) is Smell
        assert input_options({"kind": "smell"}).kind == "smell"
        with pytest.raises(ValueError, match="`kind`: a name that no other class has.*'smell'"):
            register_modality(type("Scent", (Smell,), {}))
    finally:
        del KINDS["smell"]


def test_layers_have_the_names_of_old_models():
    modalities = {kind: fitted(kind, kind)[0][0] for kind in ("image", "text")}
    data = SimpleNamespace(modalities=modalities, num_classes=3)
    names = {layer.name for layer in build_teacher(data).layers}
    expected = {f"image_{part}{i}" for part in ("conv", "norm", "relu") for i in range(4)}
    expected |= {"image", "image_rescaling", "image_pooling", "image_features", "image_presence"}
    expected |= {"text", "text_words", "text_dropout", "text_features", "text_presence"}
    expected |= {"modality_dropout", "fusion", "fused_features", "fused_dropout", "logits"}
    assert {n for n in names if not n.startswith("not_equal")} == expected
    assert isinstance(build_teacher(data), keras.Model)
