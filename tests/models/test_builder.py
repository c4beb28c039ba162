import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import (
    Attention,
    Concatenation,
    WeightedSum,
    baseline_teacher,
    build_student,
    build_teacher,
)
from mmkd_tf.models.named_fusions import FUSION_NAMES, fusion_by_name
from mmkd_tf.models.seeding import seeded


def task(*names, num_words=300, num_classes=5):
    words = ["<pad>", "<unk>", *map(str, range(num_words))]
    modalities = {"image": Image(height=16), "text": Text(vocabulary=words, length=6)}
    return SimpleNamespace(
        modalities={name: modalities[name] for name in names or modalities},
        num_classes=num_classes,
    )


def inputs(batch=3):
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(1, 255, [batch, 16, 16, 3], np.uint8),
        "text": rng.integers(1, 300, [batch, 6]).astype("int32"),
    }


def test_baseline_teacher_is_as_written():
    model = baseline_teacher(num_classes=10)
    assert model.count_params() == 4_644_042
    assert {t.name: t.shape[1:] for t in model.inputs} == {"image": (224, 224, 3), "text": (100,)}
    assert model.output.shape == (None, 10)


@pytest.mark.parametrize("num_words", [50, 2000, 20_000])
@pytest.mark.parametrize("num_classes", [2, 20, 200])
@pytest.mark.parametrize("names", [("image", "text"), ("image",), ("text",)])
def test_student_is_20_times_smaller_than_the_teacher(num_words, num_classes, names):
    data = task(*names, num_words=num_words, num_classes=num_classes)
    assert build_teacher(data).count_params() >= 20 * build_student(data).count_params()


def test_student_is_made_of_separable_convolutions_a_small_embedding_and_an_lstm():
    kinds = {type(layer).__name__ for layer in build_student(task()).layers}
    assert {"SeparableConv2D", "GlobalAveragePooling2D", "Embedding", "LSTM"} <= kinds
    assert "Conv2D" not in kinds and "Flatten" not in kinds


@pytest.mark.parametrize("build", [build_teacher, build_student])
@pytest.mark.parametrize("names", [("image", "text"), ("image",), ("text",)])
def test_models_name_what_others_may_want(build, names):
    model = build(task(*names))
    assert sorted(model.input) == sorted(names)
    for name in (*(f"{name}_features" for name in names), "fused_features", "logits"):
        assert model.get_layer(name)
    logits = model({name: inputs()[name] for name in names})
    assert logits.shape == (3, 5) and np.isfinite(logits).all()


@pytest.mark.parametrize("build", [build_teacher, build_student])
@pytest.mark.parametrize("name", FUSION_NAMES)
def test_models_of_some_modalities_with_any_fusion(build, name):
    role = "teacher" if build is build_teacher else "student"
    for names in (["image"], ["text"], ["text", "image"]):
        model = build(task(), fusion=fusion_by_name(name, role), inputs=names)
        assert sorted(model.input) == sorted(names)
        for layer in ("features", "presence"):
            for modality in names:
                assert len(model.get_layer(f"{modality}_{layer}").output.shape) == 2
        logits = model({name: inputs()[name] for name in names})
        assert logits.shape == (3, 5) and np.isfinite(logits).all()


@pytest.mark.parametrize("build", [build_teacher, build_student])
@pytest.mark.parametrize("wrong", [["sound"], ["image", "sound"], [], "image"])
def test_refuses_inputs_that_are_not_there(build, wrong):
    with pytest.raises(ValueError, match=r"`inputs`: a list .*\['image', 'text'\].*Received"):
        build(task(), inputs=wrong)


def test_a_modality_without_tokens_is_one_token():
    data = task()
    data.modalities["image"] = SimpleNamespace(
        input=data.modalities["image"].input,
        student_encoder=data.modalities["image"].student_encoder,
    )
    model = build_student(data, fusion=fusion_by_name("cross_attention", "student"))
    positions = {v.name: v.shape for v in model.get_layer("fusion").weights if "pos" in v.name}
    assert positions == {"image_positions": (1, 24), "text_positions": (7, 24)}


@pytest.mark.parametrize("fusion", [Concatenation, WeightedSum, Attention])
@pytest.mark.parametrize("build", [build_teacher, build_student])
def test_an_absent_modality_is_left_out(build, fusion):
    model = build(task(), fusion=fusion(name="fusion"))
    complete = inputs()
    no_text = {**complete, "text": np.zeros_like(complete["text"])}
    fused = keras.Model(model.input, model.get_layer("fused_features").output)
    gap = np.abs(np.asarray(fused(complete)) - np.asarray(fused(no_text)))
    assert gap.max() > 1e-4
    if fusion is Concatenation:
        assert not np.asarray(fused(no_text))[:, -model.get_layer("text_features").units :].any()


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    for fusion in (None, WeightedSum(name="fusion"), Attention(name="fusion")):
        model = build_teacher(task(), fusion=fusion)
        a, b, c = (seeded(model, seed=seed)(inputs()) for seed in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert np.abs(np.asarray(a) - np.asarray(c)).max() > 1e-3


def test_seeding_needs_no_global_state_and_leaves_none():
    import random

    model = build_student(task())
    random.seed(5)
    expected = random.random()
    random.seed(5)
    seeded(model, seed=3)
    assert random.random() == expected


def test_models_read_the_modalities_and_forms_that_they_are_built_for():
    data = task()
    data.modalities["teacher/image"] = Image(height=32)
    teacher, student = build_teacher(data), build_student(data, inputs=["image"])
    assert teacher.input["image"].shape == (None, 32, 32, 3) and "text" in teacher.input
    assert {name: x.shape for name, x in student.input.items()} == {"image": (None, 16, 16, 3)}


def test_modality_dropout_acts_in_training_alone_and_can_be_left_out():
    kept = {"image": 0.0, "text": 1.0}
    model = build_student(task(), modality_dropout=kept)
    presence = keras.Model(model.input, model.get_layer("text_presence").output)
    assert np.asarray(presence(inputs())).all()
    assert not np.asarray(presence(inputs(), training=True)).any()
    names = [layer.name for layer in build_student(task(), modality_dropout=0).layers]
    assert "modality_dropout" not in names
    alone = build_student(task(), inputs=["text"], modality_dropout=0.5)
    assert "modality_dropout" not in [layer.name for layer in alone.layers]


def two_pictures():
    words = ["<pad>", "<unk>", *map(str, range(20))]
    modalities = {name: Image(name, height=16) for name in ("front", "back")}
    modalities["title"] = Text("title", vocabulary=words, length=4)
    return SimpleNamespace(modalities=modalities, num_classes=3)


@pytest.mark.parametrize("build", [build_teacher, build_student])
@pytest.mark.parametrize("name", ["concatenation", "cross_attention"])
def test_two_pictures_an_example(build, name):
    role = "teacher" if build is build_teacher else "student"
    model = build(two_pictures(), fusion=fusion_by_name(name, role))
    pictures = np.random.default_rng(0).integers(1, 255, [2, 3, 16, 16, 3], np.uint8)
    batch = {"front": pictures[0], "back": pictures[1], "title": np.ones([3, 4], "int32")}
    logits = np.asarray(model(batch))
    turned = {**batch, "front": pictures[1], "back": pictures[0]}
    assert logits.shape == (3, 3) and np.abs(logits - np.asarray(model(turned))).max() > 1e-6
    presence = keras.Model(model.input, model.get_layer("back_presence").output)
    assert not np.asarray(presence({**batch, "back": 0 * pictures[0]})).any()


def test_refuses_a_modality_under_another_name():
    data = two_pictures()
    data.modalities["side"] = data.modalities.pop("back")
    with pytest.raises(ValueError, match="`dataset`: .*own names. Received: 'back' as 'side'"):
        build_teacher(data)


def own_encoder(last="map", size=16, dim=7):
    picture = keras.Input([size, size, 3], dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(picture)
    x = keras.layers.Conv2D(dim, 3, strides=4)(x)
    if last == "sequence":
        x = keras.layers.Reshape([-1, dim])(x)
    if last == "vector":
        x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(picture, x, name="mine")


@pytest.mark.parametrize("build", [build_teacher, build_student])
@pytest.mark.parametrize("last", ["map", "sequence", "vector"])
def test_an_encoder_of_ones_own_takes_the_place_of_the_built_in_one(build, last):
    encoder = own_encoder(last)
    model = build(task(), encoders={"image": encoder})
    assert "image_conv0" not in [layer.name for layer in model.layers]
    features = keras.Model(model.input, model.get_layer("image_features").output)(inputs())
    given = np.asarray(encoder(inputs()["image"]))
    np.testing.assert_allclose(features, given.reshape(3, -1, 7).mean(axis=1), atol=1e-5)
    assert model(inputs()).shape == (3, 5)


def test_an_encoder_of_ones_own_keeps_its_weights_and_may_be_frozen(tmp_path):
    encoder = own_encoder()
    encoder.trainable = False
    before = encoder.get_weights()
    model = build_student(task(), encoders={"image": encoder})
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(inputs(), np.arange(3), verbose=0)
    for weight, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(inputs()), model(inputs()), atol=1e-6)


def pretrained_encoder():
    """With weights, a layer that derives values from them, frozen and trained layers."""
    scale = keras.layers.Normalization(axis=-1)
    pictures = np.random.default_rng(0).integers(0, 256, [8, 16, 16, 3], np.uint8)
    scale.adapt(pictures)
    core = keras.Sequential([keras.Input([16, 16, 3]), scale, keras.layers.Conv2D(4, 3)])
    picture = keras.Input([16, 16, 3], dtype="uint8")
    x = keras.layers.BatchNormalization()(core(picture))
    encoder = keras.Model(picture, x, name="mine")
    core.trainable = False
    encoder.compile("adam", "mse")
    encoder.fit(pictures, np.zeros([8, 14, 14, 4]), verbose=0)
    return encoder


@pytest.mark.parametrize("task_name", ["single_label", "retrieval"])
@pytest.mark.parametrize("build", [build_teacher, build_student])
def test_seeding_keeps_the_weights_of_an_encoder_of_ones_own(build, task_name):
    encoder, data = pretrained_encoder(), task()
    data.task = task_name
    model = build(data, encoders={"image": encoder}, embedding_dim=8)
    first, again = seeded(model, seed=1), seeded(model, seed=1)
    picture = inputs()["image"]
    for made in (first, seeded(first, seed=2)):
        mine = made.get_layer("mine")
        assert mine is not encoder and len(mine.trainable_weights) == 2
        np.testing.assert_array_equal(mine(picture), encoder(picture))
    np.testing.assert_array_equal(first(inputs()), again(inputs()))
    words = [whole.get_layer("text_words").get_weights()[0] for whole in (model, first)]
    assert (words[0] != words[1]).any()


def test_seeding_makes_new_weights_of_a_nested_model_that_nobody_gave():
    picture = keras.Input([16, 16, 3], dtype="uint8")
    nested = keras.Model(picture, own_encoder("vector")(picture))
    made = seeded(nested, seed=1)
    assert (made.get_weights()[0] != nested.get_weights()[0]).any()


def test_importing_the_models_registers_the_layers_of_our_files():
    program = "import mmkd_tf.models, keras; print(*keras.saving.get_custom_objects())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    fusions = {"Attention", "Concatenation", "CrossAttention", "FiLM", "GatedMultimodalUnit"}
    fusions |= {"LowRankTensor", "WeightedSum"}
    layers = {"LogitScale", "ModalityDropout", "Presence", "SummaryAndTokens", "UnitLength"}
    wanted = {f"mmkd_tf>{name}" for name in {*fusions, *layers, "WordPresence"}}
    assert wanted <= set(found.stdout.split())


def test_an_encoder_of_ones_own_is_one_token_to_a_fusion_of_tokens():
    fusion = fusion_by_name("cross_attention", "student")
    model = build_student(task(), fusion=fusion, encoders={"image": own_encoder()})
    positions = {v.name: v.shape for v in fusion.weights if "positions" in v.name}
    assert positions == {"image_positions": (1, 24), "text_positions": (7, 24)}
    assert model(inputs()).shape == (3, 5)


def test_an_encoder_of_ones_own_serves_a_tower():
    data = task()
    data.task = "retrieval"
    model = build_teacher(data, encoders={"image": own_encoder()}, embedding_dim=8)
    assert model(inputs()).shape == (3, 16)


def test_refuses_encoders_that_do_not_fit_all_in_one_error():
    text = keras.Input([6])
    wide = keras.Model(text, keras.layers.Reshape([1, 1, 2, 3])(text))
    wrong = {"image": own_encoder(size=32), "text": wide, "sound": own_encoder()}
    with pytest.raises(ValueError) as error:
        build_teacher(task(), encoders=wrong)
    for words in (
        "`encoders['image']`: an input of shape [None, 16, 16, 3]",
        "Received: [None, 32, 32, 3]",
        "`encoders['text']`: features [batch, dim]",
        "models of the inputs ['image', 'text']. Received: one of 'sound'",
    ):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="a Functional or Sequential keras.Model .*Dense"):
        build_teacher(task(), encoders={"image": keras.layers.Dense(3)})


def test_the_task_may_be_left_out_named_or_given():
    from mmkd_tf.tasks import find_task

    for given in ("multi_label", find_task("multi_label")):
        data = task()
        data.task = given
        assert build_student(data).output.shape == (None, 5)
    data.task = "sorting"
    with pytest.raises(ValueError, match="`task`: one of single_label"):
        build_student(data)
