import pytest

from mmkd_tf.config import RunConfig, make_config, parse_settings
from mmkd_tf.models.classifier import MODALITY_DROPOUT


def test_flags_go_before_the_file_and_the_file_before_defaults(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 7\nseed: 3\n")
    config = make_config({"seed": 4}, file)
    assert (config.epochs, config.seed, config.batch_size) == (7, 4, 32)


def test_a_share_may_come_as_text_and_a_table_as_a_path():
    config = make_config({"validation": "0.2", "test": "more/test.csv"})
    assert config.validation == 0.2
    assert config.test == "more/test.csv"


def test_yaml_and_back(tmp_path):
    config = RunConfig(data="städte.csv", text=None, epochs=3)
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    assert make_config({}, file) == config


def test_all_problems_are_listed_at_once():
    with pytest.raises(ValueError) as error:
        make_config({"epochs": 0, "temperature": -1, "epoch": 5, "validation": 1.5})
    message = str(error.value)
    for name in ("`epochs`", "`temperature`", "`epoch`", "`validation`"):
        assert name in message
    assert "Received: -1" in message and "Settings are: data, image" in message


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"hard_label_weight": 0, "soft_target_weight": 0}, "one must be above 0"),
        ({"image": None, "text": None}, "at least one column"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"fusion": "magic"}, "concatenation"),
        ({"student_modalities": []}, "`student_modalities`: some of"),
        ({"image": None, "student_modalities": ["image"]}, "`student_modalities`: some of"),
        ({"student_image_size": 128}, "`student_image_size`: at most `image_size`, 64"),
        ({"student_modalities": ["image"], "student_text_length": 3}, "reads no text"),
        ({"text": None, "experts": True}, "`experts`: false"),
        ({"modality_dropout": 1.5}, "`modality_dropout`"),
        ({"modality_dropout": {"sound": 0.5}}, "`modality_dropout`"),
        ({"modality_dropout": True}, "`modality_dropout`: a number from 0"),
        ({"modality_dropout": None}, "`modality_dropout`: a number from 0"),
        ({"student_modalities": ["text", "text"]}, "each once"),
        (
            {"student_modalities": ["image"], "modality_dropout": {"text": 0.2}},
            "`modality_dropout`: rates of what the student reads",
        ),
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
    pairs = ["batch_size=64", "augment=false", "text=null", "data=a=b.csv"]
    assert parse_settings(pairs) == {
        "batch_size": 64,
        "augment": False,
        "text": None,
        "data": "a=b.csv",
    }
    with pytest.raises(ValueError, match=r"NAME=VALUE.*\['epochs'\]"):
        parse_settings(["epochs"])


def test_a_problem_of_several_settings_says_no_more_than_itself():
    with pytest.raises(ValueError) as error:
        make_config({"student_image_size": 128})
    line = str(error.value).splitlines()[1]
    assert line.startswith("- `student_image_size`: at most") and line.endswith("larger one.")


def test_the_rates_of_modality_dropout_are_those_of_the_models():
    config = RunConfig()
    assert config.modality_dropout == config.teacher_modality_dropout == MODALITY_DROPOUT
