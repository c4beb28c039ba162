"""Students that see less than their teacher, and teachers that see one modality each."""

import numpy as np
import pytest

from mmkd_tf.config import make_config
from mmkd_tf.data.dataset import Dataset, Examples, for_student
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.runs import training as run_training
from mmkd_tf.runs.roles import predict, untrained
from mmkd_tf.runs.training import keep_soft_targets, student_terms, train_model
from mmkd_tf.settings.names import grouped
from mmkd_tf.tasks import TASKS

WORDS = ["red", "green", "blue"]
pytestmark = pytest.mark.usefixtures("eager_training")


def examples(count, seed):
    """The class is told by the colour of the picture and, once more, by the text."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count).astype("int32")
    pictures = rng.integers(0, 120, [count, 16, 16, 3])
    pictures[np.arange(count), :, :, labels] += 100
    texts = [f"a {WORDS[label]} thing" for label in labels]
    inputs = {"image": pictures.astype(np.uint8), "text": TEXT.to_tensor(texts).numpy()}
    return Examples(inputs, labels, {"text": texts})


TEXT = Text(vocabulary=["<pad>", "<unk>", "a", "thing", *WORDS], length=3)


@pytest.fixture(scope="module")
def dataset():
    return Dataset(
        name="colours",
        splits={"train": examples(48, 0), "validation": examples(16, 1), "test": examples(16, 2)},
        class_names=WORDS,
        modalities={"image": Image(height=16), "text": TEXT},
    )


def config_of(**settings):
    scratch = {"teacher.encoders": "scratch", "student.inherit": "none"}
    settings = {"epochs": 1, "batch_size": 16, "image_size": 16, **scratch, **settings}
    return make_config(settings).for_task(TASKS["single_label"])


@pytest.fixture(scope="module")
def teacher(dataset, eager_training):
    """That of all runs here, none of whose settings concern it."""
    config = config_of()
    models = untrained(config, dataset)
    train_model("teacher", models, dataset, config)
    return models["teacher"]


def trained(dataset, config, teacher, names):
    """Trains models of a run beside its teacher, which is given."""
    models = untrained(config, dataset)
    shapes = [[each.shape for each in model.weights] for model in (models["teacher"], teacher)]
    assert shapes[0] == shapes[1]
    models["teacher"] = teacher
    for name in names:
        train_model(name, models, dataset, config)
    return models


def test_a_student_of_pictures_learns_from_a_teacher_of_pictures_and_texts(dataset, teacher):
    config = config_of(student_modalities=["image"], soft_target_weight=1.0)
    models = trained(dataset, config, teacher, ["student_alone", "student"])
    assert sorted(models["teacher"].input) == ["image", "text"]
    assert list(models["student"].input) == ["image"]
    logits = {name: predict(name, models[name], dataset)["test"] for name in models}
    assert np.abs(logits["student"] - logits["student_alone"]).max() > 1e-4
    without_text = predict("student", models["student"], dataset.without("text"))["test"]
    np.testing.assert_array_equal(without_text, logits["student"])


def test_a_student_of_smaller_pictures_and_fewer_words_learns_from_a_teacher_of_all(
    dataset, teacher
):
    config = config_of(student_image_size=8, student_text_length=2)
    both = for_student(dataset, image={"size": 8}, text={"length": 2})
    models = trained(both, config, teacher, ["student_alone", "student"])
    assert models["teacher"].input["image"].shape[1] == 16
    assert models["student"].input["image"].shape[1] == 8
    assert models["student"].input["text"].shape[1] == 2
    assert predict("student", models["student"], both)["validation"].shape == (16, 3)


def test_what_is_cached_of_a_teacher_teaches_as_the_teacher_does(dataset, teacher, tmp_path):
    """Though the student loses inputs at random and reads another form than the teacher."""
    config = config_of(student_image_size=8, modality_dropout=0.5, soft_target_weight=1.0)
    both = for_student(dataset, image={"size": 8})
    live = trained(both, config, teacher, ["student"])
    cached = untrained(config, both)
    terms = student_terms(config, both)
    cached |= keep_soft_targets(live, both, config, terms=terms, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["teacher-1"]
    train_model("student", cached, both, config)
    for ours, theirs in zip(
        cached["student"].get_weights(), live["student"].get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_experts_of_what_the_student_reads_teach_beside_the_teacher(dataset, teacher):
    config = config_of(student_modalities=["text"], experts=True, modality_hint_weight=1.0)
    models = trained(dataset, config, teacher, ["text_expert", "student_alone", "student"])
    assert list(models) == ["teacher", "text_expert", "student_alone", "student"]
    assert list(models["text_expert"].input) == ["text"]
    heard = predict("student", models["student"], dataset)["test"]
    without_experts = make_config(grouped(config.model_dump(), {"experts": False}))
    unheard = trained(dataset, without_experts, teacher, ["student"])
    assert np.abs(heard - predict("student", unheard["student"], dataset)["test"]).max() > 1e-4


def test_as_many_views_as_epochs_are_kept_unless_settings_or_the_disk_say_otherwise(
    dataset, tmp_path, monkeypatch
):
    def views_of(**settings):
        config = config_of(**{"epochs": 5, **settings})
        models = {"teacher": untrained(config, dataset)["teacher"]}
        terms = student_terms(config, dataset)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        kept = keep_soft_targets(models, dataset, config, terms=terms, folder=folder)
        return kept["teacher"].outputs["logits"].shape[0]

    assert views_of() == 5
    assert views_of(augment=False) == 1
    assert views_of(**{"distillation.views": 2}) == 2
    assert views_of(**{"distillation.views": 9}) == 5
    one_view = 4 * 48 * 3  # float32, examples, classes
    monkeypatch.setattr(run_training, "MOST_BYTES_OF_VIEWS", 2 * one_view + 1)
    assert views_of() == 2
    monkeypatch.setattr(run_training, "MOST_BYTES_OF_VIEWS", one_view - 1)
    assert views_of() == 1
    # Features that hints want take their room too.
    monkeypatch.setattr(run_training, "MOST_BYTES_OF_VIEWS", 4 * one_view)
    assert views_of(relation_weight=1) == 1
