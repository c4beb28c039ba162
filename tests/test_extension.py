"""A task and a kind of input that the package does not know, from the table to an exported file.

What they need stands in this file and nowhere else.
"""

import dataclasses
import io

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from rich.console import Console

import mmkd_tf
from mmkd_tf import losses
from mmkd_tf.config import make_config
from mmkd_tf.edge import Regressor
from mmkd_tf.edge.examples import READERS, register_reader
from mmkd_tf.modalities import KINDS, register_modality
from mmkd_tf.modalities.modality import Damage, InputOptions, Modality
from mmkd_tf.report.progress import Reporter
from mmkd_tf.run import run
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.tasks import TASKS, register_task
from mmkd_tf.tasks.splits import stratified_split
from mmkd_tf.tasks.task import SoftTargetDefaults, Task


class LevelsOptions(InputOptions):
    kind: str = "levels"
    length: int = 4


class Levels(Modality):
    """A few levels from 0 to 1, written `0.2 0 1`: float32 `[1 + length]`, a one in front."""

    kind, Options, noun = "levels", LevelsOptions, "row of levels"
    damages = {
        "silence": Damage(
            lambda v, amount, rng: v * [1, *[1 - amount] * (len(v) - 1)], (0.5, 1.0), "x"
        )
    }

    def __init__(self, name, length):
        self.name, self.length = name, length

    @classmethod
    def read(cls, cells, options, *, folder=None, allow_outside=False):
        rows, problems = [], {}
        for index, cell in enumerate(cells):
            row = np.zeros(1 + options.length, np.float32)
            try:
                levels = [float(part) for part in str(cell or "").split()]
                if len(levels) > options.length:
                    raise ValueError(f"{len(levels)} levels, more than {options.length}")
                if levels:
                    row[: 1 + len(levels)] = [1, *levels]
            except ValueError as error:
                problems[index] = f"levels: {error}"
            rows.append(row)
        return np.array(rows).reshape(len(rows), 1 + options.length), problems

    @classmethod
    def absent(cls, values):
        return ~np.any(values, axis=1)

    @classmethod
    def content_keys(cls, values):
        return [row.tobytes() for row in values]

    @classmethod
    def fit(cls, name, values, options):
        return cls(name, options.length)

    def for_student(self, values, **changes):
        return None

    def to_tensor(self, raw):
        return tf.cast(raw, tf.float32)

    def augment(self, batch, seeds):
        return batch

    def fingerprint(self):
        return b""

    def input(self):
        return keras.Input([1 + self.length], name=self.name)

    def teacher_encoder(self, inputs):
        return keras.layers.Dense(400, activation="relu", name=f"{self.name}_features")(inputs)

    def student_encoder(self, inputs):
        return keras.layers.Dense(8, activation="relu", name=f"{self.name}_features")(inputs)

    def decode(self, content):
        def one(text):
            numbers = tf.strings.to_number(tf.strings.split(text))
            row = tf.concat([tf.ones([tf.minimum(tf.size(numbers), 1)]), numbers], axis=0)
            return tf.pad(row, [[0, 1 + self.length - tf.size(row)]])

        return tf.map_fn(
            one, content, fn_output_signature=tf.TensorSpec([1 + self.length], tf.float32)
        )

    def encode(self, tensors):
        return [" ".join(map(str, row[1:])) if row.any() else "" for row in tensors]

    def file_description(self, dtype):
        return {}

    def describe(self):
        return f"{self.length} levels"


class LevelsReader:
    """Reads levels for an exported file."""

    items, absent = "rows of levels", "An empty list counts as absent."

    def __init__(self, name, shape, dtype, description, files):
        self.name, self.shape = name, shape
        self.trial = np.ones(shape, np.float32)

    def __call__(self, value):
        if not isinstance(value, list):
            raise TypeError(f"`{self.name}`: a list of levels.")
        row = np.zeros(self.shape, np.float32)
        row[: 1 + len(value)] = [1, *value] if value else []
        return row


@keras.saving.register_keras_serializable("extension")
class LogPoisson(keras.losses.Loss):
    """Poisson loss of counts, the model giving the logarithm of the rate."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.exp(y_pred) - y_true * y_pred, axis=-1)


class Count(Task):
    """How many: labels float32 `[n, 1]`, outputs the logarithms of rates, a file's answer rates."""

    name, headline, output, output_range = "count", "likeness", "values", None
    soft_target_losses = {"squared": (losses.squared_loss, {})}
    words = dataclasses.replace(
        TASKS["regression"].words,
        columns=(("likeness", "likeness", ".3f"),),
        output_columns=(("likeness", "likeness", ".3f"),),
        headline="likeness",
    )

    def read_labels(self, cells, *, separator, names):
        counts = [int(row[0]) for row in cells]
        wrong = {i: f"label {count}: no count" for i, count in enumerate(counts) if count < 0}
        return ["" if i in wrong else (float(count),) for i, count in enumerate(counts)], wrong

    def output_names(self, columns):
        return list(columns)

    def check(self, tables, *, held_out, names):
        return {}, list(names), []

    def divide(self, labels, contents, *, fractions, seed):
        return stratified_split(["any"] * len(labels), fractions=fractions, seed=seed)

    def label_array(self, labels, names):
        return np.array(labels, np.float32)

    def loss(self, statistics=None):
        return LogPoisson()

    def metrics(self):
        return [keras.metrics.MeanSquaredError(name="mean_squared_error")]

    def fits(self, loss):
        return isinstance(loss, LogPoisson)

    def soft_targets(self, loss=None):
        return SoftTargetDefaults(losses.squared_loss, temperature=None)

    def measure(self, *, labels, outputs, names, inputs=()):
        score = self.score(labels=labels, outputs=outputs)
        return {"likeness": score, "per_target": [{"name": n, "likeness": score} for n in names]}

    def score(self, *, labels, outputs):
        return self.file_score(labels=labels, answers=np.exp(outputs))

    def file_score(self, *, labels, answers):
        return float(1 / (1 + np.abs(labels - answers).mean()))

    def agreement(self, *, teacher_outputs, student_outputs):
        return self.score(labels=np.exp(teacher_outputs), outputs=student_outputs)

    def study_scores(self, *, labels, outputs):
        return {"likeness": self.score(labels=labels, outputs=outputs)}

    def activate(self, outputs, name=None):
        return tf.exp(tf.cast(outputs, tf.float32), name=name)

    def deactivate(self, answers):
        return np.log(answers)

    def comparable(self, outputs, answers, labels=None):
        return outputs.astype(float), np.log(answers.astype(float)), 1.0

    def spread(self, expected):
        return float(expected.std())

    def same_answers(self, expected, found):
        return float(np.mean(np.abs(expected - found) < 0.1))

    def label_problems(self, labels, num_outputs):
        return []

    def purpose(self, inputs, num_outputs):
        return f"A counter of {inputs}"

    def examples_have(self, num_outputs):
        return ", each with a count"

    def agreement_sentence(self, agreement):
        return f"Its counts are like its teacher's to {agreement:.2f}."


@pytest.fixture
def extended():
    """The package as a program sees it that brings a kind and a task."""
    before = dict(KINDS), dict(TASKS), dict(READERS)
    register_modality(Levels)
    register_task(Count())
    register_reader("levels", LevelsReader)
    yield
    for table, content in zip((KINDS, TASKS, READERS), before, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    levels = rng.random([60, 3]).round(2)
    frame = pd.DataFrame(
        {
            "code": [" ".join(map(str, row)) if i % 9 else "" for i, row in enumerate(levels)],
            "title": [
                f"box {'red' if row[0] > 0.5 else 'blue'} {i}" for i, row in enumerate(levels)
            ],
            "count": (5 * levels.sum(axis=1)).round().astype(int),
        }
    )
    path = tmp_path / "boxes.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.usefixtures("eager_training")
def test_a_kind_and_a_task_from_outside_go_the_whole_way(extended, table, tmp_path):
    config = make_config(
        {
            "data.source": str(table),
            "data.task": "count",
            "data.label": "count",
            "inputs": {"code": {"kind": "levels", "length": 3}, "title": {"kind": "text"}},
            "training.epochs": 2,
            "teacher.encoders": "scratch",
            "student.inherit": "none",
        }
    )
    folder = RunFolder(tmp_path / "run")
    folder.begin(config)
    results = run(config, folder, Reporter(Console(file=io.StringIO())))
    assert results["task"] == "count" and 0 < results["student"]["test"]["likeness"] <= 1
    assert set(results["robustness"]["absent"]["student"]) == {"code", "title"}
    assert "silence" in results["robustness"]["damage"]
    for made in results["exports"]:
        assert made["max_abs_logit_difference"] < 1e-4 or made["quantize"] != "float32"
    regressor = Regressor(folder.path / "student.tflite")
    assert sorted(regressor.inputs) == ["code", "title"]
    alone = regressor.predict(code=[0.2, 0.4, 0.1])
    assert alone["count"] > 0
    assert alone != regressor.predict(code=[0.2, 0.4, 0.1], title="box red")
    with pytest.raises(TypeError, match="`code`: a list of levels"):
        regressor.predict(code="0.2")
    assert "levels" in (folder.path / "report.html").read_text(encoding="utf-8")


def test_its_damaged_rows_are_listed(extended, table):
    frame = pd.read_csv(table, keep_default_na=False)
    frame.loc[3, "code"], frame.loc[4, "count"] = "much", -1
    inputs = {"code": {"kind": "levels", "length": 3}, "title": {"kind": "text"}}
    options = mmkd_tf.DatasetOptions(task="count")
    with pytest.raises(ValueError, match="(?s)row 3: levels: .*row 4: label -1: no count"):
        mmkd_tf.from_table(frame, inputs=inputs, label="count", options=options)
