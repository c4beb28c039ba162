"""Regression: one or several numbers an example."""

from collections.abc import Sequence

import keras
import numpy as np

from mmkd_tf import losses
from mmkd_tf.modalities.cells import quote
from mmkd_tf.tasks.labels import NUMBER, check_inputs, check_rows_left, label_text, read_each
from mmkd_tf.tasks.outputs import (
    LOSSES_OF_CLASSES,
    TIE,
    by_output,
    check_outputs,
    table_problems,
)
from mmkd_tf.tasks.splits import numbered, quantile_bins, stratified_split
from mmkd_tf.tasks.task import MISSING, Answers, SoftTargetDefaults, Task, Words

# float32 holds squares of such, and their sum; of smaller ones a square is nothing.
_LARGEST, _SMALLEST = 1e18, 1e-18
# Below this share of the greatest value, float32 does not tell the values apart well enough.
_SMALLEST_SPREAD = 1e-6
# A value counts as Keras' if it is nearer than this many standard deviations.
_NEAR = 0.1
# The share of a value by which float32 may round it, beside 1e-4 of a standard deviation.
_ROUNDING = 1e-2
_COLUMNS = (
    ("R2", "r2", ".3f"),
    ("mean absolute error", "mean_absolute_error", ".4g"),
    ("root mean squared error", "root_mean_squared_error", ".4g"),
)


class Regression(Task):
    """Numbers. Labels: float32 `[n, num_targets]` in their own units; outputs: the same."""

    name = "regression"
    headline = "r2"
    output = "values"
    output_range = None
    soft_target_losses = {"squared": (losses.squared_loss, {})}
    unfit_soft_targets = (*LOSSES_OF_CLASSES, losses.sigmoid_soft_target_loss)
    takes_numbers = True
    ignored_settings = {
        "distillation.on_wrong_teacher": "where no class is the right one",
        "distillation.temperature": "whose outputs are no probabilities",
        "teacher.architecture": "since the written method's teacher gives classes",
        "teacher.embedding_dim": "whose models are no two towers",
        "data.label_separator": "whose label cells hold one number",
    }
    words = Words(
        columns=_COLUMNS,
        per_output="per_target",
        output_columns=(*_COLUMNS, ("standard deviation", "standard_deviation", ".4g")),
        headline="R2",
        same="near Keras",
        meaning="R2: the share of the variance that is explained, 1 is perfect, 0 as good as the "
        "mean. Errors are in the targets' own units. All are means over the targets.",
        output_title="Target by target",
        output_meaning="The standard deviation of the test values is what errors are to be "
        "compared with.",
        truth="numbers",
        limits="It gives numbers for any input, and none about how sure it is of them.",
    )

    def label_columns(self, label):
        if isinstance(label, str):
            names = [name.strip() for name in label.split(",")]
        else:
            names = list(map(str, label))
        if not names or not all(names) or len(set(names)) < len(names):
            raise ValueError(f"`label`: names of columns, each once. Received: label={label!r}.")
        return names

    def read_labels(self, cells, *, separator, names):
        return read_each(cells, lambda *row: tuple(map(_number, row, names)))

    def output_names(self, columns):
        return list(columns)

    def check(self, tables, *, held_out, names):
        train = tables["train"]
        known = [label for label in train.labels if label != MISSING]
        general = check_rows_left(tables)
        if general or not known:
            return {}, list(names), general or [f"{train.source}: no numbers to learn."]
        general = _check_spread(train.source, known, names)
        return {}, list(names), general + check_inputs(train)

    def divide(self, labels, contents, *, fractions, seed):
        """By how great the numbers are, see `quantile_bins`."""
        groups = numbered(contents)
        bins = quantile_bins(np.array(labels), groups)
        return stratified_split(bins, groups=groups, fractions=fractions, seed=seed)

    def training_problems(self, labels, names):
        return _check_spread("the rows left for training", labels, names)

    def label_array(self, labels, names):
        return np.array(labels, np.float32).reshape(len(labels), len(names))

    def target_statistics(self, labels):
        targets = labels.astype(np.float64)
        return targets.mean(axis=0), targets.std(axis=0)

    def loss(self, statistics=None):
        """In units of the training targets' standard deviation.

        So it is about 1 at the start whatever the units, and no target drowns another.
        """
        if statistics is None:
            raise ValueError(
                "`statistics`: the training targets' means and standard deviations, as "
                "`Dataset.target_statistics` gives them. Received: None."
            )
        return ScaledSquaredError(statistics[1].tolist())

    def metrics(self):
        return [keras.metrics.MeanAbsoluteError(name="mean_absolute_error")]

    def fits(self, loss):
        kinds = keras.losses.MeanSquaredError | keras.losses.MeanAbsoluteError
        kinds |= ScaledSquaredError | keras.losses.Huber | keras.losses.LogCosh
        return isinstance(loss, kinds)

    def soft_targets(self, loss=None):
        options = {"scale": loss.scale} if isinstance(loss, ScaledSquaredError) else {}
        return SoftTargetDefaults(losses.squared_loss, temperature=None, options=options)

    def head(self, outputs, statistics):
        """Layers see targets of mean 0 and deviation 1, people see their own units."""
        if statistics is None:
            return outputs
        mean, deviation = (values.tolist() for values in statistics)
        rescaling = keras.layers.Rescaling(deviation, offset=mean, dtype="float32", name="values")
        return rescaling(outputs)

    def measure(self, *, labels, outputs, names, inputs=()):
        """Measures a model; means over the targets, whatever their units.

        Returns:
            `r2`, at most 1, 0 is as good as always saying the mean; `mean_absolute_error`;
            `root_mean_squared_error`; `per_target`, a list of `name`, the same three, and
            `standard_deviation` of the labels, which is the error of their mean.
        """
        labels, values = check_outputs(labels, outputs, len(names), argument="values")
        by_target = {
            "mean_absolute_error": np.abs(labels - values).mean(axis=0),
            "root_mean_squared_error": np.sqrt(np.square(labels - values).mean(axis=0)),
            "r2": r2_scores(labels=labels, values=values),
            "standard_deviation": labels.std(axis=0),
        }
        means = {key: float(by_target[key].mean()) for _, key, _ in _COLUMNS}
        return {**means, "per_target": by_output({"name": list(names), **by_target})}

    def score(self, *, labels, outputs):
        return float(np.mean(r2_scores(labels=labels, values=outputs)))

    def agreement(self, *, teacher_outputs, student_outputs):
        return self.score(labels=teacher_outputs, outputs=student_outputs)

    def label_words(self, labels, names):
        return [_listed(row, names) for row in labels]

    def answers(self, *, labels, outputs, names, inputs=()):
        """Mistakes are mean errors in standard deviations of the labels."""
        words = [_listed(row, names) for row in outputs]
        return Answers(words, self.disagreement(labels=labels, outputs=outputs, others=labels))

    def disagreement(self, *, labels, outputs, others):
        spread = np.asarray(labels, np.float64).std(axis=0)
        gaps = np.abs(np.asarray(outputs, np.float64) - others)
        return (gaps / np.where(spread > 0, spread, 1)).mean(axis=1)

    def comparable(self, outputs, answers, labels=None):
        """Values in standard deviations of the labels; without labels, of Keras' outputs."""
        outputs, answers = outputs.astype(np.float64), answers.astype(np.float64)
        size = np.abs(outputs).max(axis=0)
        spread = (outputs if labels is None else np.asarray(labels, np.float64)).std(axis=0)
        unit = np.where(spread > TIE * size, spread, np.maximum(1.0, size))
        far = np.abs(outputs - outputs.mean(axis=0)) / unit
        scale = max(1.0, far.max(), (_ROUNDING * size / unit).max())
        return outputs / unit, answers / unit, scale

    def same_answers(self, expected, found):
        """Share of the values that are nearer than a tenth of a standard deviation."""
        return float(np.mean(np.abs(expected - found) <= _NEAR))

    def label_problems(self, labels, num_outputs):
        return table_problems(labels, num_outputs, task=self, values="numbers")

    def purpose(self, inputs, num_outputs):
        return f"A model that tells {_numbers(num_outputs)} from {inputs}"

    def examples_have(self, num_outputs):
        return f", each with {_numbers(num_outputs)}"

    def agreement_sentence(self, agreement):
        return (
            f"On the test examples its values explain its teacher's with an R2 of {agreement:.3f}."
        )

    def describe(self, labels, names):
        train = labels["train"]
        columns = (names, *self.target_statistics(train), train.min(0), train.max(0))
        return [f"{len(names)} targets"] + [
            f"{name}: mean {mean:.4g}, standard deviation {std:.4g}, {low:.4g} to {high:.4g}"
            for name, mean, std, low, high in zip(*columns, strict=True)
        ]


@keras.saving.register_keras_serializable("mmkd_tf")
class ScaledSquaredError(keras.losses.Loss):
    """Mean over targets of `((labels - outputs) / scale)**2`, float32 `[batch]`.

    `scale` has a number above 0 for each target, such as its standard deviation.
    """

    def __init__(
        self,
        scale: Sequence[float],
        reduction: str = "sum_over_batch_size",
        name: str = "scaled_squared_error",
    ):
        super().__init__(reduction=reduction, name=name)
        self.scale = [float(number) for number in scale]
        if not self.scale or not min(self.scale) > 0:
            raise ValueError(f"`scale`: numbers above 0. Received: scale={list(scale)}.")

    def call(self, y_true, y_pred):
        return losses.squared_loss(teacher_logits=y_true, student_logits=y_pred, scale=self.scale)

    def get_config(self):
        return {"scale": self.scale, "reduction": self.reduction, "name": self.name}


def r2_scores(*, labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of each target's variance that values `[n, num_targets]` explain, float64 `[targets]`.

    `1 - sum((labels - values)**2) / sum((labels - mean(labels))**2)`; where all labels are equal,
    1 for values that are right and 0 for others.
    """
    labels, values = np.asarray(labels, np.float64), np.asarray(values, np.float64)
    error = np.square(labels - values).sum(axis=0)
    spread = np.square(labels - labels.mean(axis=0)).sum(axis=0)
    ratio = np.divide(error, spread, out=(error > 0).astype(float), where=spread > 0)
    return 1 - ratio


def _number(cell, name: str) -> float:
    if not (text := label_text(cell)):
        raise ValueError(f"{name}: missing")
    if not NUMBER.fullmatch(text):
        raise ValueError(
            f"{name} {quote(text)}: not a number; write it with a decimal point, and without a "
            "unit or a separator of thousands"
        )
    if abs(value := float(text)) > _LARGEST:
        raise ValueError(
            f"{name} {quote(text)}: too large for float32; take its logarithm, or another unit"
        )
    return value


def _check_spread(source: str, labels: Sequence, names: Sequence[str]) -> list[str]:
    """Says which targets are the same, or nearly so, in all rows, so that they can't be learned."""
    problems = []
    for name, values in zip(names, np.array(labels, np.float64).T, strict=True):
        if values.std() <= _SMALLEST_SPREAD * np.abs(values).max():
            problems.append(
                f"{source}: {name} is {values[0]:g} in all rows or nearly so; there is nothing to "
                "learn. Subtract what all have in common, or add rows."
            )
        elif values.std() < _SMALLEST:
            problems.append(
                f"{source}: {name} has a standard deviation of {values.std():.3g}, too small for "
                "float32. Give it in another unit."
            )
    return problems


def _listed(values: np.ndarray, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))


def _numbers(count: int) -> str:
    return "a number" if count == 1 else f"{count:,} numbers"
