import pytest
import yaml

from mmkd_tf.config import DistillationSettings, RunConfig, make_config
from mmkd_tf.modalities import KINDS, register_modality
from mmkd_tf.modalities.image import Image
from mmkd_tf.models.builder import MODALITY_DROPOUT
from mmkd_tf.runs.folder import OLDER
from mmkd_tf.settings.groups import GENERATORS
from mmkd_tf.settings.names import differences, full_names, grouped, parse_settings, setting_names
from mmkd_tf.tasks import find_task

# What a run wrote before settings came in groups; null where nothing was said.
OLD = """
data: items.csv
image: photo
text: text
label: [price, weight]
task: regression
label_separator: '|'
validation: 0.2
test: test.csv
skip_bad_rows: true
allow_outside: false
image_size: 96
text_length: null
vocabulary_size: 500
teacher: fusion
fusion: gated
student_modalities: [image]
student_image_size: 48
student_text_length: null
student_vocabulary_size: null
modality_dropout: {image: 0.2}
teacher_modality_dropout: 0.3
experts: false
embedding_dim: 64
soft_target_loss: auto
temperature: null
hard_label_weight: 1.0
soft_target_weight: 0.5
modality_hint_weight: 0.1
relation_weight: 0.0
on_wrong_teacher: keep
epochs: 7
batch_size: 16
learning_rate: 0.001
student_learning_rate: 0.003
weight_decay: 0.01
augment: false
seed: 3
robustness: false
text_input: bytes
max_accuracy_loss: 0.01
author: somebody
licence: null
"""


def test_flags_go_before_the_file_and_the_file_before_defaults(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("training: {epochs: 7, weight_decay: 0.1}\nseed: 3\n")
    config = make_config({"seed": 4, "epochs": 8}, file)
    assert (config.training.epochs, config.seed, config.training.batch_size) == (8, 4, 32)
    assert config.training.weight_decay == 0.1


def test_a_share_may_come_as_text_and_a_table_as_a_path():
    config = make_config({"validation": "0.2", "test": "more/test.csv"})
    assert config.data.validation == 0.2
    assert config.data.test == "more/test.csv"


def test_yaml_and_back(tmp_path):
    config = make_config({"data": "städte.csv", "text": None, "epochs": 3})
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    assert make_config({}, file) == config


def test_settings_of_before_they_came_in_groups_mean_the_same(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(OLD)
    config = make_config(OLDER, file)
    assert config.data.model_dump() == {
        "source": "items.csv",
        "label": ["price", "weight"],
        "task": "regression",
        "label_separator": "|",
        "validation": 0.2,
        "test": "test.csv",
        "unlabelled": None,
        "unlabelled_rows": False,
        "skip_bad_rows": True,
        "allow_outside": False,
    }
    image, text = config.inputs["image"], config.inputs["text"]
    assert (image.kind, image.column, image.size, image.student.size) == ("image", "photo", 96, 48)
    assert (text.kind, text.column, text.length, text.vocabulary_size) == (
        "text",
        "text",
        None,
        500,
    )
    assert (config.teacher.architecture, config.teacher.fusion) == ("fusion", "gated")
    assert (config.teacher.modality_dropout, config.teacher.learning_rate) == (0.3, 0.001)
    assert (config.student.inputs, config.student.modality_dropout) == (["image"], {"image": 0.2})
    assert (config.student.learning_rate, config.student.fusion) == (0.003, None)
    assert config.distillation == DistillationSettings(
        hard_label_weight=1, soft_target_weight=0.5, modality_hint_weight=0.1
    )
    assert config.training.model_dump() == {
        "epochs": 7,
        "batch_size": 16,
        "weight_decay": 0.01,
        "augment": False,
        "augment_strength": 1.0,
        "restore": "last",
        "early_stopping": None,
        "class_weight": "none",
        "precision": "float32",
        "strategy": "none",
    }
    assert (config.export.text_input, config.export.author) == ("bytes", "somebody")
    assert (config.seed, config.robustness) == (3, False)
    known = {name for name in full_names(yaml.safe_load(OLD)) if not name.startswith("inputs.")}
    younger = {
        "student.fusion",
        "distillation.views",
        "teacher.folds",
        "teacher.finetune",
        "student.compare_scratch",
        "data.unlabelled",
        "data.unlabelled_rows",
        "export.calibrate",
        "export.saved_model",
        "distillation.transfer_share",
        "training.augment_strength",
        "training.restore",
        "training.early_stopping",
        "training.class_weight",
        "training.precision",
        "training.strategy",
        "export.quantize",
        "fast",
        "tensorboard",
        "callbacks",
        *(f"distillation.{name}" for name in GENERATORS),
        *OLDER,
    }
    assert known == set(setting_names()) - younger


def test_the_defaults_of_before_are_the_defaults():
    old = {"data": "emoji", "image": "image", "text": "text", "teacher": "fusion"}
    assert make_config(old) == RunConfig()
    assert make_config({"data.source": "emoji", "inputs.text.student.length": None}) == RunConfig()


def test_each_form_of_a_name_means_the_same():
    forms = (
        {"epochs": 3, "image_size": 32, "student_image_size": 16},
        {"training.epochs": 3, "inputs.image.size": 32, "inputs.image.student.size": 16},
        {"training": {"epochs": 3}, "image_size": 32, "inputs.image.student": {"size": 16}},
    )
    first, *others = map(make_config, forms)
    assert first.inputs["image"].student.size == 16
    assert all(other == first for other in others)


def test_inputs_by_name_take_the_place_of_the_short_form():
    given = {
        "inputs": {"front": {"kind": "image"}, "back": {"kind": "image", "column": "rear"}},
        "inputs.back.size": 32,
        "student.inputs": ["back"],
    }
    config = make_config(given)
    assert list(config.inputs) == ["front", "back"] and config.student_inputs == ["back"]
    assert [(each.column, each.size) for each in config.inputs.values()] == [
        ("front", 64),
        ("rear", 32),
    ]
    assert given["inputs"] == {
        "front": {"kind": "image"},
        "back": {"kind": "image", "column": "rear"},
    }
    assert RunConfig(**config.model_dump()) == config == RunConfig(**dict(config))


def test_the_short_form_leaves_an_input_out_with_its_sizes():
    for none in (None, "none"):
        config = make_config({"image": none, "image_size": 32})
        assert list(config.inputs) == ["text"]
    assert list(RunConfig(**grouped({"image": "none"}, {"image": "photo"})).inputs) == [
        "image",
        "text",
    ]


def test_kinds_from_outside_are_inputs_too(monkeypatch):
    class Sketch(Image):
        kind = "sketch"

        class Options(Image.Options):
            kind: str = "sketch"
            strokes: int = 3

    monkeypatch.setitem(KINDS, "sketch", Sketch)
    register_modality(Sketch)
    config = make_config({"inputs": {"drawing": {"kind": "sketch", "strokes": 5}}})
    assert config.inputs["drawing"].strokes == 5
    assert config.model_dump()["inputs"]["drawing"]["strokes"] == 5
    assert make_config(yaml.safe_load(config.to_yaml())) == config


def test_all_problems_are_listed_at_once():
    with pytest.raises(ValueError) as error:
        make_config({"epochs": 0, "temperature": -1, "epoch": 5, "validation": 1.5})
    message = str(error.value)
    for name in ("`training.epochs`", "`distillation.temperature`", "`epoch`", "`data.validation`"):
        assert message.count(name) == 1
    assert "Received: -1" in message and "mmkd-tf settings" in message
    assert "Did you mean training.epochs?" in message


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"hard_label_weight": 0, "soft_target_weight": 0}, "one must be above 0"),
        ({"image": None, "text": None}, "`inputs`: at least one"),
        ({"learning_rate": float("nan")}, "teacher.learning_rate"),
        ({"fusion": "magic"}, "concatenation"),
        ({"task": "magic"}, "`data.task`: one of auto, single_label"),
        ({"soft_target_loss": "magic"}, "`distillation.soft_target_loss`: one of auto, divergence"),
        ({"student_modalities": []}, "`student.inputs`: some of"),
        ({"image": None, "student_modalities": ["image"]}, "`student.inputs`: some of"),
        ({"student_image_size": 128}, "`inputs.image.student.size`: at most `size`, 64"),
        ({"student_modalities": ["image"], "student_text_length": 3}, "reads no text"),
        ({"text": None, "experts": True}, "`teacher.experts`: false"),
        ({"modality_dropout": 1.5}, "`student.modality_dropout`"),
        ({"modality_dropout": {"sound": 0.5}}, "`student.modality_dropout`"),
        ({"teacher_modality_dropout": {"sound": 0.5}}, "`teacher.modality_dropout`"),
        ({"modality_dropout": True}, "`student.modality_dropout`: a number from 0"),
        ({"modality_dropout": None}, "`student.modality_dropout`: a number from 0"),
        ({"student_modalities": ["text", "text"]}, "each once"),
        (
            {"student_modalities": ["image"], "modality_dropout": {"text": 0.2}},
            "`student.modality_dropout`: rates of what the student reads",
        ),
        ({"augment": False, "distillation.views": 3}, "`distillation.views`: 1 without"),
        ({"teacher": "document"}, "`teacher.architecture`: 'baseline' reads the inputs"),
        ({"inputs": {"front": {"kind": "smell"}}}, "`inputs.front`: .*image, text"),
        ({"inputs": {"a": {"kind": "image", "size": 3}}}, "`inputs.a.size`: .*Received: 3"),
        ({"inputs.photo.size": 32}, "`inputs.photo`: "),
        ({"inputs": ["image"]}, "`inputs`: at least one"),
        ({"training": 3}, "`training`: "),
        ({"training.epoch": 3}, "`training.epoch`: there is no .*Did you mean training.epochs"),
        ({"trainng.batch_size": 4}, "`trainng.batch_size`: .*mean training.batch_size"),
        ({"teacher.fusion": "gatd"}, "Did you mean gated"),
        ({"inputs.text.lenght": 5}, "`inputs.text.lenght`: .*mean inputs.text.length"),
        ({"inputs": {"a": {"kind": "audio", "secnds": 2}}}, "Did you mean inputs.a.seconds"),
        (
            {"inputs": {"a": {"kind": "audio", "student": {"secnds": 2}}}},
            "Did you mean inputs.a.student.seconds",
        ),
        ({"inputs": {"a": {"kind": "audoi"}}}, "Did you mean audio"),
        ({"image": 3}, "`inputs.image.column`: "),
    ],
)
def test_refuses(values, match):
    with pytest.raises(ValueError, match=match):
        make_config(values)


def test_refuses_files_that_hold_no_settings(tmp_path):
    with pytest.raises(ValueError, match="`--config`: a YAML file"):
        make_config({}, tmp_path / "absent.yaml")
    file = tmp_path / "list.yaml"
    file.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="holds a list"):
        make_config({}, file)


def test_settings_are_read_as_yaml():
    pairs = ["batch_size=64", "augment=false", "text=null", "data=a=b.csv", "training.epochs=2"]
    assert parse_settings(pairs) == {
        "batch_size": 64,
        "augment": False,
        "text": None,
        "data": "a=b.csv",
        "training.epochs": 2,
    }
    with pytest.raises(ValueError, match=r"NAME=VALUE.*\['epochs'\]"):
        parse_settings(["epochs"])


def test_a_problem_of_several_settings_says_no_more_than_itself():
    with pytest.raises(ValueError) as error:
        make_config({"student_image_size": 128})
    line = str(error.value).splitlines()[1]
    assert line.startswith("- `inputs.image.student.size`: at most")
    assert line.endswith("larger one.")


def test_differences_have_full_names():
    was, now = RunConfig().model_dump(), make_config({"epochs": 3, "image": None}).model_dump()
    lines = differences(was, now)
    assert "training.epochs: was 32, now 3" in lines
    assert "inputs.image.size: was 64, now None" in lines and len(lines) == 5
    assert differences(was, was) == []


def test_the_rates_of_modality_dropout_are_those_of_the_models():
    config = RunConfig()
    assert config.student.modality_dropout == config.teacher.modality_dropout == MODALITY_DROPOUT


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"recombined_rows": 1, **OLDER}, "0 unless the one teacher is pretrained"),
        ({"word_rows": 1, "transfer_share": 0}, "0 where `distillation.transfer_share` is 0"),
        ({"word_rows": 1, "student.inputs": ["image"]}, "the student reads no words"),
        ({"mixup_rows": 1, "image": "none"}, "the student reads no pictures"),
        ({"recombined_rows": 1, "text": "none"}, "0 where the student reads one input alone"),
        ({"unlabelled": "a.csv", "experts": True}, "nothing beside hints and experts"),
        ({"unlabelled_rows": True, "relation_weight": 1, **OLDER}, "nothing beside hints"),
        ({"neighbour_rows": -1}, "at least 0. Received: -1"),
    ],
)
def test_rows_without_labels_that_there_cant_be(settings, problem):
    with pytest.raises(ValueError, match=problem):
        make_config(settings)


def test_rows_are_made_where_an_example_has_one_class():
    settings = make_config({"word_rows": 1, "mixup_rows": 0.5}).distillation
    assert settings.generated == {"word_rows": 1, "mixup_rows": 0.5}
    assert settings.for_task(find_task("single_label")).generated == settings.generated
    with pytest.raises(ValueError, match="word_rows`, `distillation.mixup_rows`: 0 for regression"):
        settings.for_task(find_task("regression"))
