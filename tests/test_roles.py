"""Students that see less than their teacher, and teachers that see one modality each."""

import numpy as np
import pytest

from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.student_form import for_student
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.roles import predict, train_model, untrained

WORDS = ["red", "green", "blue"]


def examples(count, seed):
    """The class is told by the colour of the picture and, once more, by the text."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count).astype("int32")
    pictures = rng.integers(0, 120, [count, 16, 16, 3])
    pictures[np.arange(count), :, :, labels] += 100
    texts = [f"a {WORDS[label]} thing" for label in labels]
    inputs = {"image": pictures.astype(np.uint8), "text": TEXT.to_tensor(texts).numpy()}
    return Examples(inputs, labels, texts)


TEXT = Text(["<pad>", "<unk>", "a", "thing", *WORDS], length=3)


@pytest.fixture(scope="module")
def dataset():
    return Dataset(
        name="colours",
        splits={"train": examples(48, 0), "validation": examples(16, 1), "test": examples(16, 2)},
        class_names=WORDS,
        modalities={"image": Image(16), "text": TEXT},
    )


def config_of(**settings):
    return RunConfig(epochs=1, batch_size=16, image_size=16, **settings)


def trained(dataset, config, names=None):
    models = untrained(config, dataset)
    for name in names or models:
        train_model(name, models, dataset, config)
    return models


def test_a_student_of_pictures_learns_from_a_teacher_of_pictures_and_texts(dataset):
    config = config_of(student_modalities=["image"], soft_target_weight=1.0)
    models = trained(dataset, config)
    assert sorted(models["teacher"].input) == ["image", "text"]
    assert list(models["student"].input) == ["image"]
    logits = {name: predict(name, models[name], dataset)["test"] for name in models}
    assert np.abs(logits["student"] - logits["student_alone"]).max() > 1e-4
    without_text = predict("student", models["student"], dataset.without("text"))["test"]
    np.testing.assert_array_equal(without_text, logits["student"])


def test_a_student_of_smaller_pictures_and_fewer_words_learns_from_a_teacher_of_all(dataset):
    config = config_of(student_image_size=8, student_text_length=2)
    both = for_student(dataset, image_size=8, text_length=2)
    models = trained(both, config)
    assert models["teacher"].input["image"].shape[1] == 16
    assert models["student"].input["image"].shape[1] == 8
    assert models["student"].input["text"].shape[1] == 2
    assert predict("student", models["student"], both)["validation"].shape == (16, 3)


def test_what_is_cached_of_a_teacher_teaches_as_the_teacher_does(dataset, tmp_path):
    """Though the student loses inputs at random and reads another form than the teacher."""
    config = config_of(student_image_size=8, modality_dropout=0.5, soft_target_weight=1.0)
    both = for_student(dataset, image_size=8)
    live = trained(both, config, ["teacher", "student"])
    cached = untrained(config, both)
    cached["teacher"] = cache_soft_targets(
        teacher=live["teacher"], dataset=both, folder=tmp_path / "cache", views=1, seed=config.seed
    )
    train_model("student", cached, both, config)
    for ours, theirs in zip(
        cached["student"].get_weights(), live["student"].get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_experts_of_what_the_student_reads_teach_beside_the_teacher(dataset):
    config = config_of(student_modalities=["text"], experts=True, modality_hint_weight=1.0)
    models = untrained(config, dataset)
    assert list(models) == ["teacher", "text_expert", "student_alone", "student"]
    assert list(models["text_expert"].input) == ["text"]
    for name in models:
        train_model(name, models, dataset, config)
    heard = predict("student", models["student"], dataset)["test"]
    unheard = trained(dataset, config.model_copy(update={"experts": False}))
    assert np.abs(heard - predict("student", unheard["student"], dataset)["test"]).max() > 1e-4
