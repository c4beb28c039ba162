"""Settings with a fault: a clear error, and what a YAML file means where there is none."""

import json
from dataclasses import dataclass, field

import pytest
import yaml

from mmkd_tf.config import make_config
from mmkd_tf.data.options import DEFAULTS, named_inputs
from mmkd_tf.export.early import export_problems
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.report.progress import Reporter, progress_console
from mmkd_tf.run import run
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.settings.groups import ExportSettings
from mmkd_tf.settings.names import full_names, layered, parse_settings, read_yaml
from mmkd_tf.settings.yaml_files import parse_yaml
from mmkd_tf.tasks import find_task
from mmkd_tf.tasks.task import Task

DEEP = 3000

# What a file holds, and a piece of the error.
FILES = {
    "nested deeply": ("[" * DEEP + "]" * DEEP, "nested more than 20 levels"),
    "mappings nested deeply": ("{a: " * DEEP + "1" + "}" * DEEP, "nested more than 20 levels"),
    "nested more than settings": ("[" * 30 + "]" * 30, "nested more than 20 levels"),
    "within itself": ("training: &a {epochs: *a}", "a value that is within itself"),
    "references by the million": (
        "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        "more than 100,000 values",
    ),
    "a key twice": ("seed: 1\nseed: 2\n", "'seed' is there twice, in line 1 and in line 2"),
    "a key twice in a group": ("training:\n  epochs: 1\n  epochs: 2\n", "'epochs' is there twice"),
    "a group twice": ("training: {epochs: 1}\ntraining: {augment: false}\n", "'training' is there"),
    "an input twice": ("inputs: {a: {kind: text}, a: {kind: image}}", "'a' is there twice"),
    "a number as key": ("1: 2", "keys that are no texts: 1; put quotation marks"),
    "a number as key in a group": ("training: {1: 2}", "keys that are no texts: 1 in `training`"),
    "a class that is a number": ("training: {class_weight: {0: 2}}", "0 in `training.class_weight"),
    "a switch as key": ("on: 1", "keys that are no texts: True"),
    "nothing as key": ("~: 1", "keys that are no texts: None"),
    "a date as key": ("2024-01-01: 1", "keys that are no texts: datetime.date"),
    "a list as key": ("? [a]\n: 1", "unhashable key"),
    "an object": ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
    "a tab for spaces": ("training:\n\tepochs: 1", "cannot start any token"),
    "an open bracket": ("training: {epochs: 1", "line 1"),
    "an unknown reference": ("seed: *a", "undefined alias"),
    "two documents": ("seed: 1\n---\nseed: 2\n", "expected a single document"),
    "a control character": ("seed: 1 # \x1b[31m", "a control character, U\\+001B, in line 1"),
    "NUL": ("seed: 1\0", "a control character, U\\+0000"),
    "a wrong date": ("seed: 2024-99-99", "month must be in 1..12"),
    "Windows-1252": ("export: {author: café}".encode("cp1252"), "not UTF-8 at byte 20"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "not UTF-8 at byte 0"),
    "a large file": (b"# " + b"x" * 2**20, "larger than 1 MiB"),
    "a list": ("- seed", "which holds a list"),
    "a text": ("seed", "which holds a str"),
    "a number": ("5", "which holds a int"),
}

# Settings, and a piece of the error.
REFUSED = {
    "unknown": ({"epoch": 3}, "Did you mean training.epochs"),
    "unknown group": ({"trainings.epochs": 3}, "`trainings.epochs`|`trainings`"),
    "empty name": ({"": 3}, "``"),
    "a dot at the end": ({"training.": 3}, "`training.`"),
    "no epochs": ({"training.epochs": 0}, "`training.epochs`.*Received: 0"),
    "a part of an epoch": ({"training.epochs": 1.5}, "`training.epochs`.*Received: 1.5"),
    "epochs in words": ({"training.epochs": "many"}, "`training.epochs`: a whole number. .*'many'"),
    "epochs as switch": ({"training.epochs": True}, "`training.epochs`: a number, not true"),
    "a share as switch": ({"data.validation": False}, "`data.validation`: a number, not false"),
    "a size as switch": ({"inputs.image.size": True}, "`inputs.image.size`: a number, not true"),
    "epochs without end": ({"training.epochs": float("inf")}, "`training.epochs`"),
    "no examples in a step": ({"training.batch_size": 0}, "`training.batch_size`"),
    "a group as number": ({"training": 3}, "`training`"),
    "a group as list": ({"training": [3]}, "`training`"),
    "negative seed": ({"seed": -1}, "`seed`"),
    "a seed too large": ({"seed": 2**31}, "`seed`"),
    "a seed of nothing": ({"seed": None}, "`seed`"),
    "rate above 1": ({"student.modality_dropout": 2}, "`student.modality_dropout`"),
    "no rate": ({"student.modality_dropout": float("nan")}, "`student.modality_dropout`"),
    "learning rate of 0": ({"teacher.learning_rate": 0}, "`teacher.learning_rate`"),
    "learning rate without end": ({"teacher.learning_rate": float("inf")}, "teacher.learning_rate"),
    "temperature of 0": ({"distillation.temperature": 0}, "`distillation.temperature`"),
    "temperature of no number": ({"distillation.temperature": float("nan")}, "temperature"),
    "weight below 0": ({"distillation.relation_weight": -1}, "`distillation.relation_weight`"),
    "weight without end": ({"distillation.relation_weight": float("inf")}, "relation_weight"),
    "weight of no number": ({"distillation.relation_weight": float("nan")}, "relation_weight"),
    "a share of all": ({"data.validation": 1}, "`data.validation`"),
    "an empty separator": ({"data.label_separator": ""}, "`data.label_separator`"),
    "a kind that is none": ({"inputs": {"a": {"kind": "smell"}}}, "`inputs.a`"),
    "no kind": ({"inputs": {"a": {"column": "x"}}}, "`inputs.a`.*kind"),
    "an input as text": ({"inputs": {"a": "text"}}, "`inputs.a`"),
    "inputs as list": ({"inputs": [{"kind": "text"}]}, "`inputs`"),
    "no inputs": ({"inputs": {}}, "`inputs`"),
    "an input's unknown option": ({"inputs": {"a": {"kind": "text", "size": 3}}}, "`inputs.a.size"),
    "text input in other words": ({"export.text_input": "utf8"}, "`export.text_input`"),
    "no level": ({"export.quantize": "int3"}, "`export.quantize`"),
    "loss above all": ({"export.max_accuracy_loss": 2}, "`export.max_accuracy_loss`"),
    "a licence as list": ({"export.licence": ["MIT"]}, "`export.licence`"),
    "a callback without name": ({"callbacks": [{"arguments": {}}]}, "`callbacks"),
    "callbacks as text": ({"callbacks": "CSVLogger"}, "`callbacks`"),
    "a task that is none": ({"data.task": "sorting"}, "`data.task`"),
    "two names, two values": ({"epochs": 1, "training.epochs": 2}, "`training.epochs`: one value"),
    "a name and its group": ({"epochs": 1, "training": {"epochs": 2}}, "`training.epochs`: one"),
}

# Names that an input can't have.
NAMES = {
    "a space": "my photo",
    "a dot": "a.b",
    "a slash": "../a",
    "a line feed": "a\n",
    "other letters": "größe",
    "a digit first": "1a",
    "nothing": "",
    "too long": "a" * 65,
    "a number": 5,
    "a layer": "logits",
    "the fusion": "fused_features",
    "an argument": "candidates",
    "a keyword": "class",
}

# Pairs of `--set`, and a piece of the error.
PAIRS = {
    "no value": ("epochs", "NAME=VALUE, for example"),
    "an open bracket": ("inputs={a", "Put quotation marks around the value"),
    "deep": ("inputs=" + "[" * 200, "nested more than 20 levels"),
    "a key twice": ("inputs={a: 1, a: 2}", "'a' is there twice"),
    "a number as key": ("class_weight={0: 2}", "keys that are no texts: 0"),
    "an escape": ("export.author=\x1b[31m", "a control character, U\\+001B"),
}

# Values of `export`, names of outputs, words of a text, and a piece of the error.
EXPORTS = {
    "empty author": ({"author": ""}, {}, "`export.author`: a text that is not empty"),
    "empty licence": ({"licence": ""}, {}, "`export.licence`: a text that is not empty"),
    "author of half a pair": ({"author": "a\udcff"}, {}, "`export.author`: .*valid Unicode"),
    "NUL in a licence": ({"licence": "MIT\0"}, {}, "`export.licence`: .*without U\\+0000"),
    "U+2028 in a name": ({}, {"names": ["a\u2028b", "c"]}, r"Received: 'a\\u2028b'. Rename"),
    "U+0085 in a name": ({}, {"names": ["a\x85b", "c"]}, r"Received: 'a\\x85b'"),
    "vertical tab in a name": ({}, {"names": ["a\x0bb", "c"]}, r"Received: 'a\\x0bb'"),
    "form feed in a name": ({}, {"names": ["a\x0cb", "c"]}, r"Received: 'a\\x0cb'"),
    "line feed in a name": ({}, {"names": ["a\nb", "c"]}, r"Received: 'a\\nb'"),
    "carriage return at the end": ({}, {"names": ["a\r", "c"]}, r"Received: 'a\\r'"),
    "NUL in a name": ({}, {"names": ["a\0", "c"]}, r"Received: 'a\\x00'"),
    "half a pair in a name": ({}, {"names": ["a\ud800", "c"]}, r"Received: 'a\\ud800'"),
    "empty name": ({}, {"names": ["", "c"]}, "Received: ''"),
    "a name twice": ({}, {"names": ["c", "c"]}, "Received: 'c'"),
    "bytes without texts": ({"text_input": "bytes"}, {"words": None}, "`export.text_input`: bytes"),
}


@dataclass
class _Data:
    """What `export_problems` asks of a Dataset."""

    class_names: list
    modalities: dict
    splits: dict = field(default_factory=dict)
    task: Task = field(default_factory=lambda: find_task("single_label"))


class _Raw:
    raw = {"text": ["red cup"]}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_files_that_are_refused(tmp_path, content, message):
    path = tmp_path / "a.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(path)
    assert str(error.value).startswith("`--config`: ") and len(str(error.value)) < 900


@pytest.mark.parametrize("path", ["/dev/zero", ".", "nowhere.yaml"])
def test_what_is_no_file(path):
    with pytest.raises(ValueError, match="`--config`: a YAML file. Received: "):
        read_yaml(path)


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        make_config(values)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_inputs_that_are_refused_before_any_training(name):
    more = {"image": "image", "text": "text", "options": DEFAULTS}
    with pytest.raises(ValueError, match="`inputs`: names .* Received: ") as error:
        named_inputs({name: {"kind": "text"}}, **more)
    assert repr(name) in str(error.value)
    with pytest.raises(ValueError, match="`inputs`.*names .* Received: ") as error:
        make_config({"inputs": {name: {"kind": "text"}}})
    assert repr(str(name)) in str(error.value)


@pytest.mark.parametrize(("pair", "message"), PAIRS.values(), ids=PAIRS)
def test_pairs_that_are_refused(pair, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_settings([pair])
    assert str(error.value).startswith("`--set`: ") and len(str(error.value)) < 400


@pytest.mark.parametrize(("settings", "about", "message"), EXPORTS.values(), ids=EXPORTS)
def test_what_an_export_refuses_is_known_before(settings, about, message):
    words = about.get("words", ["red", "cup"])
    inputs = {"image": Image(height=8)}
    if words is not None:
        inputs = {"text": Text(vocabulary=["<pad>", "<unk>", *words], length=4)}
    data = _Data(about.get("names", ["a|b", "<c>"]), inputs, {"train": _Raw})
    problems = export_problems(data, ExportSettings(**settings))
    assert len(problems) == 1
    with pytest.raises(ValueError, match=message):
        raise ValueError(problems[0])


def test_all_problems_of_an_export_come_together():
    data = _Data(["a\nb"], {"text": Text(vocabulary=["<pad>", "<unk>"], length=4)})
    assert len(export_problems(data, ExportSettings(author="", licence=""))) == 3


def test_names_and_terms_of_any_other_form_are_exported():
    names = ["a|b", "<c>", "\x1b[31m", " x ", "👍🏽", "*", "_d_", "x" * 5000, "e,f", '"']
    data = _Data(names, {"text": Text(vocabulary=["<pad>", "<unk>"], length=4)})
    settings = ExportSettings(author="Größe & Söhne", licence="Terms:\n1. None\r\n\n2. Nothing")
    assert export_problems(data, settings) == []


@pytest.mark.parametrize(
    "text",
    [
        "seed: 3",
        "training: &a {epochs: 2}\nstudent: {}\n",
        "base: &b {x: 1}\nmore: {<<: *b, y: 2}\n",
        "callbacks: [{name: a, arguments: {schedule: {1: 0.5}}}]",
        "# only a comment",
        "",
        json.dumps({"a": {"b": [1, 2.5, None, True, "x"]}}),
    ],
)
def test_other_files_mean_what_they_mean_elsewhere(text):
    assert parse_yaml(text) == yaml.safe_load(text)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfseed: 3\n")
    assert read_yaml(tmp_path / "a.yaml") == {"seed": 3}


def test_two_names_of_a_setting_may_agree_and_layers_may_differ():
    assert full_names({"epochs": 2, "training": {"epochs": 2}}) == {"training.epochs": 2}
    assert layered({"epochs": 2}, {"training.epochs": 3})["training"] == {"epochs": 3}


# Settings, and how the lines of the error begin.
LATE = {
    "of the task and of files": (
        {"teacher.embedding_dim": 8, "export.author": "", "export.licence": "MIT\0"},
        ["`teacher.embedding_dim`", "`export.author`", "`export.licence`"],
    ),
    "weights of no class": (
        {"class_weight": {"pan": 2.0}, "export.author": ""},
        ["`training.class_weight`", "`export.author`"],
    ),
}


@pytest.mark.parametrize(("settings", "expected"), LATE.values(), ids=LATE)
def test_a_run_refuses_before_its_first_epoch_what_would_fail_later(tmp_path, settings, expected):
    lines = [f"{kind} {number},{kind}" for kind in ("cup", "lamp") for number in range(8)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines, ""]))
    usual = {"data.source": str(tmp_path / "a.csv"), "image": None}
    usual |= {"teacher.encoders": "scratch", "student.inherit": "none"}
    config, folder = make_config({**usual, **settings}), RunFolder(tmp_path / "out")
    folder.begin(config)
    with pytest.raises(ValueError) as error:
        run(config, folder, Reporter(progress_console(quiet=True)))
    problems = [line for line in str(error.value).splitlines() if line.startswith("`")]
    assert [problem.split(":")[0] for problem in problems] == expected
    assert not list(folder.path.glob("*.keras"))
    folder.release()


def test_an_input_of_the_name_of_another_kind_is_refused_before_any_training():
    (problem,) = export_problems(_Data(["a", "b"], {"audio": Image(height=8)}), ExportSettings())
    assert "`inputs.audio`: of kind audio" in problem and "Received: kind image" in problem


@pytest.mark.parametrize(
    ("task", "names", "refused"),
    [
        ("retrieval", ("small", "title"), ["small"]),
        ("retrieval", ("a", "a_small"), ["a_small"]),
        ("retrieval", ("smalls", "small_a"), []),
        ("single_label", ("small", "a_small"), []),
    ],
)
def test_names_that_make_two_files_one_are_refused_before_any_training(task, names, refused):
    inputs = {name: Image(name, height=8) for name in names}
    problems = export_problems(_Data([], inputs, task=find_task(task)), ExportSettings())
    assert [problem.split("`")[1] for problem in problems] == [f"inputs.{one}" for one in refused]


def test_a_name_too_long_for_any_file(tmp_path):
    path = tmp_path / "long.yaml"
    for name in ("data.source", "data.validation", "data.unlabelled"):
        path.write_text(f"{name}: {'x' * 5000}\n")
        assert getattr(make_config({}, path).data, name.removeprefix("data.")).endswith("xxx")
