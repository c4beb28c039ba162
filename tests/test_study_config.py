from pathlib import Path

import pytest
import yaml

from mmkd_tf.config import DistillationSettings
from mmkd_tf.study_config import make_study


def written(folder, text):
    file = folder / "study.yaml"
    file.write_text(text)
    return file


def test_a_recipe_goes_before_a_dataset_and_that_before_the_settings(tmp_path):
    study = make_study(
        {},
        written(
            tmp_path,
            """
            seeds: 3
            settings: {epochs: 7, temperature: 2}
            datasets: {emoji: {epochs: 9}, catalog: }
            recipes: {soft: {temperature: 5}, plain: }
            """,
        ),
    )
    assert study.seeds == 3
    config = study.run_config("emoji", 2, "soft")
    assert (config.data.source, config.training.epochs, config.seed) == ("emoji", 9, 2)
    assert config.distillation.temperature == 5
    assert study.run_config("catalog", 0, "plain").distillation.temperature == 2
    assert study.run_config("catalog", 0).training.epochs == 7


def test_settings_may_come_in_groups(tmp_path):
    study = make_study(
        {"settings": {"training.epochs": 5}},
        written(
            tmp_path,
            """
            settings: {training: {batch_size: 8, epochs: 7}, inputs: {front: {kind: image}}}
            datasets: {emoji: {inputs.front.size: 32}, catalog: {student: {modality_dropout: 0}}}
            recipes: {soft: {distillation: {temperature: 5}}}
            """,
        ),
    )
    config = study.run_config("emoji", 0, "soft")
    assert (config.training.batch_size, config.training.epochs) == (8, 5)
    assert [(name, each.size) for name, each in config.inputs.items()] == [("front", 32)]
    assert config.distillation.temperature == 5
    assert study.run_config("catalog", 0).student.modality_dropout == 0


def test_without_a_file_the_defaults_of_run_are_studied():
    study = make_study({})
    assert (study.seeds, list(study.datasets), study.recipes) == (5, ["emoji"], {"default": {}})


def test_flags_go_first(tmp_path):
    file = written(tmp_path, "{seeds: 9, datasets: {emoji: {epochs: 9}}}")
    study = make_study({"seeds": 2, "settings": {"epochs": 1}}, file)
    assert study.seeds == 2 and study.run_config("emoji", 0).training.epochs == 1


def test_tables_are_looked_for_beside_the_file(tmp_path, monkeypatch):
    (tmp_path / "items.csv").write_text("text,label\n")
    file = written(tmp_path, "datasets: {mine: {data: items.csv, test: more.csv, validation: 0.2}}")
    monkeypatch.chdir("/")
    config = make_study({}, file).run_config("mine", 0)
    assert config.data.source == str(tmp_path / "items.csv")
    assert config.data.test == str(tmp_path / "more.csv")
    assert config.data.validation == 0.2


def test_a_table_of_the_command_line_gets_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my items.csv").write_text("text,label\n")
    study = make_study({"data": "my items.csv"}, written(tmp_path, "recipes: {a: }"))
    assert study.datasets == {"my_items": {"data.source": str(tmp_path / "my items.csv")}}
    study = make_study({"data": "my items.csv"}, written(tmp_path, "settings: {test: t.csv}"))
    assert study.run_config("my_items", 0).data.test == str(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="`DATA`: the YAML file names `datasets` already"):
        make_study({"data": "my items.csv"}, written(tmp_path, "datasets: {emoji: }"))


def test_all_problems_are_listed_at_once(tmp_path):
    file = written(
        tmp_path,
        """
        settings: {epochs: 0, seed: 3}
        datasets: {emoji: {colour: red}, catalog: }
        recipes:
          longer: {epochs: 64, image_size: 32}
          cold: {temperature: -1}
        """,
    )
    with pytest.raises(ValueError) as error:
        make_study({}, file)
    lines = str(error.value).splitlines()
    for start in (
        "- `settings.training.epochs`: ",
        "- `settings.seed`: `seeds` sets it",
        "- `datasets.emoji.colour`: ",
        "- `recipes.longer.training.epochs`: concerns more than the distilled student",
        "- `recipes.longer.inputs.image.size`: concerns more",
        "- `recipes.cold.distillation.temperature`: ",
    ):
        found = [line for line in lines if line.startswith(start)]
        assert len(found) == 1, (start, lines)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("seeds: 0", "`seeds`: .*Received: 0"),
        ("colours: 3", "`colours`: "),
        ("recipes: {a/b: }", "recipes.a/b"),
        ("datasets: {..: }", "datasets.."),
        ("[1, 2]", "a YAML file with keys of seeds, settings, .*holds a list"),
        (
            "recipes: {a: {hard_label_weight: 0, soft_target_weight: 0}}",
            "- `recipes.a.distillation.hard_label_weight`, .*one must be above 0",
        ),
        ("seeds: [", "`--config`: a YAML file"),
        ("settings: 3", "`settings`: "),
        ("only: {emoji: student}", "`only.emoji`"),
        ("datasets: {a: , b: }\nonly: {c: teacher}", "- `only`: names of `datasets`, a, b. .*c"),
        ("datasets: {a: }\nonly: {a: teacher}", "- `only`: not for all datasets"),
    ],
)
def test_refuses(tmp_path, text, match):
    with pytest.raises(ValueError, match=match):
        make_study({}, written(tmp_path, text))


def test_a_missing_file_is_said():
    with pytest.raises(ValueError, match="`--config`: a YAML file. Received: nowhere.yaml"):
        make_study({}, Path("nowhere.yaml"))


def test_a_recipe_may_set_all_of_distillation(tmp_path):
    given = DistillationSettings().model_dump()
    file = written(tmp_path, yaml.safe_dump({"recipes": {"all": given}}))
    config = make_study({}, file).run_config("emoji", 0, "all")
    assert config.distillation == DistillationSettings()
