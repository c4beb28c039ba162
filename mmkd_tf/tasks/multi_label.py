"""Multi label: any number of several labels an example."""

from collections import Counter
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf import losses
from mmkd_tf.modalities.cells import cell_text, quote
from mmkd_tf.tasks.labels import (
    check_inputs,
    check_rows_left,
    is_list,
    label_text,
    name_classes,
    one_line,
    read_each,
    split_labels,
    tidy,
)
from mmkd_tf.tasks.outputs import (
    CLASS_COLUMNS,
    LOSSES_OF_CLASSES,
    NEAR_TIE,
    SMALLEST,
    TIE,
    by_output,
    check_outputs,
    ratio,
    reliability_bins,
    table_problems,
)
from mmkd_tf.tasks.splits import iterative_split, numbered
from mmkd_tf.tasks.task import MISSING, Answers, SoftTargetDefaults, Task, Words

THRESHOLD = 0.5  # a label is given where its probability is above this


class MultiLabel(Task):
    """Any number of labels. Labels: float32 `[n, num_labels]`, 0 or 1; outputs: logits."""

    name = "multi_label"
    headline = "average_precision"
    output = "probabilities"
    soft_target_losses = {"sigmoid": (losses.sigmoid_soft_target_loss, {})}
    unfit_soft_targets = LOSSES_OF_CLASSES
    threshold = THRESHOLD
    counts_outputs = True
    takes_lists = True
    ignored_settings = {
        "distillation.on_wrong_teacher": "where no class is the right one",
        "teacher.embedding_dim": "whose models are no two towers",
    }
    words = Words(
        columns=(
            ("average precision", "average_precision", ".3f"),
            ("micro F1", "micro_f1", ".3f"),
            ("macro F1", "macro_f1", ".3f"),
            ("all labels right", "subset_accuracy", ".3f"),
        ),
        per_output="per_label",
        output_columns=(("average precision", "average_precision", ".3f"), *CLASS_COLUMNS),
        headline="average precision",
        same="same labels",
        meaning="Average precision: how far a label's examples come before the others when they "
        "are sorted by its probability, a mean over the labels. F1 is of the labels given, those "
        "above a half: micro over all of them, macro as a mean over the labels. All labels right: "
        "share of the examples with none missing and none too many.",
        output_title="Label by label",
        output_meaning="Precision: of the examples that it gave this label, the share that has it. "
        "Recall: of the examples that have it, the share that got it.",
        truth="labels",
        limits="It knows the labels above and nothing else, and gives those that it holds more "
        "probable than not.",
    )

    def read_labels(self, cells, *, separator, names):
        # A cell of separators alone says that the example has none of the labels, as an empty list
        # does; an empty cell may be an oversight.
        return read_each(cells, lambda cell: _label_set(cell, separator))

    def check(self, tables, *, held_out, names):
        """Checks labels; one of a single row is no problem: it stays in training."""
        labels = (label for rows in tables.values() for label in rows.labels)
        class_of, names = name_classes((name for label in labels for name in label), names)
        train = tables["train"]
        known = [label for label in train.labels if label != MISSING]
        counts = Counter(class_of[name] for label in known for name in label)
        general = check_rows_left(tables)
        general = general or _training_problems(train, known, counts) + check_inputs(train)
        if general:
            return class_of, names, general
        for rows in tables.values():
            for index, label in enumerate(rows.labels):
                for name in label:
                    if class_of[name] not in counts:
                        rows.add_problem(index, f"label {quote(name)}: no training row has it")
        return class_of, names, general

    def divide(self, labels, contents, *, fractions, seed):
        names = sorted({name for label in labels for name in label})
        array = self.label_array(labels, names)
        return iterative_split(array, groups=numbered(contents), fractions=fractions, seed=seed)

    def label_array(self, labels, names):
        index_of = {name: index for index, name in enumerate(names)}
        array = np.zeros([len(labels), len(names)], np.float32)
        for row, given in enumerate(labels):
            array[row, [index_of[name] for name in given]] = 1
        return array

    def output_counts(self, labels, names):
        return dict(zip(names, map(int, labels.sum(axis=0)), strict=True))

    def loss(self, statistics=None):
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def metrics(self):
        return [keras.metrics.AUC(curve="PR", from_logits=True, name="pr_auc")]

    def fits(self, loss):
        kinds = keras.losses.BinaryCrossentropy | keras.losses.BinaryFocalCrossentropy
        return isinstance(loss, kinds)

    def soft_targets(self, loss=None):
        return SoftTargetDefaults(losses.sigmoid_soft_target_loss)

    def measure(self, *, labels, outputs, names, inputs=()):
        """Measures a model, with a label given where its probability is above a half.

        Returns:
            `average_precision`, the mean over the labels that the split has;
            `micro_average_precision`, of all pairs of example and label together; `micro_f1`, of
            the same, 0 where no label is there or given; `macro_f1`, the mean over the labels that
            the split has or the model gives; `subset_accuracy`, the share of the examples whose
            labels are all right, and no other given; `per_label`, a list of `name`,
            `average_precision` (None where no example has the label), `precision`, `recall`,
            `f1`, and `support`, the number of examples that have it. All 0 to 1.
        """
        labels, logits = check_outputs(labels, outputs, len(names), argument="logits")
        labels, given = labels > 0, logits > 0
        right = (labels & given).sum(axis=0)
        support, named = labels.sum(axis=0), given.sum(axis=0)
        f1 = ratio(2 * right, support + named)
        precisions = average_precisions(labels=labels, scores=logits)
        pairs = {"labels": labels.reshape(-1, 1), "scores": logits.reshape(-1, 1)}
        per_label = {
            "name": list(names),
            "average_precision": np.where(np.isnan(precisions), None, precisions),
            "precision": ratio(right, named),
            "recall": ratio(right, support),
            "f1": f1,
            "support": support,
        }
        return {
            "average_precision": mean_of_known(precisions),
            "micro_average_precision": mean_of_known(average_precisions(**pairs)),
            "micro_f1": float(ratio(2 * right.sum(), support.sum() + named.sum())),
            "macro_f1": float(f1[support + named > 0].mean()) if (support + named).any() else 0.0,
            "subset_accuracy": float(np.mean((labels == given).all(axis=1))),
            "per_label": by_output(per_label),
        }

    def score(self, *, labels, outputs):
        return mean_of_known(average_precisions(labels=labels, scores=outputs))

    def agreement(self, *, teacher_outputs, student_outputs):
        """F1 of one model's labels for the other's, 1 if neither gives any."""
        return _given_f1(np.asarray(teacher_outputs) > 0, np.asarray(student_outputs) > 0)

    def naive_outputs(self, *, training_labels, labels, names):
        shares = np.clip(training_labels.mean(axis=0), SMALLEST, 1 - TIE)
        logits = np.log(shares) - np.log1p(-shares)
        return np.tile(logits, (len(labels), 1)), "giving each label its share of training"

    def reliability(self, *, labels, outputs):
        """Of each pair of example and label: how often one of such a probability is there."""
        confidence = _probabilities(outputs).reshape(-1)
        return reliability_bins(confidence=confidence, right=(labels > 0).reshape(-1))

    def label_words(self, labels, names):
        return [_listed(row > 0, names) for row in labels]

    def answers(self, *, labels, outputs, names, inputs=()):
        """As sure as it is of the label that it is least sure of."""
        probs = _probabilities(outputs)
        given, sure = probs > THRESHOLD, np.maximum(probs, 1 - probs)
        mistakes = np.where(given != (labels > 0), sure, 0).max(axis=1)
        return Answers([_listed(row, names) for row in given], mistakes, sure.min(axis=1))

    def disagreement(self, *, labels, outputs, others):
        """The greatest difference of the probabilities of a label that one gives alone."""
        first, second = _probabilities(outputs), _probabilities(others)
        apart = (first > THRESHOLD) != (second > THRESHOLD)
        return np.where(apart, np.abs(first - second), 0).max(axis=1)

    def activate(self, outputs, name=None):
        return tf.sigmoid(tf.cast(outputs, tf.float32), name)

    def deactivate(self, answers):
        log_probs = np.log(np.maximum(answers, SMALLEST))
        return log_probs - np.log(np.maximum(1 - answers, SMALLEST))

    def comparable(self, outputs, answers, labels=None):
        logits, answers = outputs.astype(np.float64), answers.astype(np.float64)
        expected, scale = -np.logaddexp(0, -logits), np.abs(logits).max()
        found = np.log(np.maximum(answers, SMALLEST))
        return np.maximum(expected, np.log(SMALLEST)), found, max(1.0, scale)

    def same_answers(self, expected, found):
        """F1 of the labels given; what Keras holds undecided up to 1e-6 counts as the same."""
        return _same_labels(expected, found, np.abs(expected - np.log(THRESHOLD)) <= TIE)

    def good_answers(self, expected, found):
        return _same_labels(expected, found, np.abs(np.exp(expected) - THRESHOLD) <= NEAR_TIE)

    def label_problems(self, labels, num_outputs):
        return table_problems(labels, num_outputs, task=self, values="0 or 1")

    def output_problems(self, outputs):
        if (outputs >= 0).all() and (outputs <= 1).all() and outputs.any():
            return (
                "`model`: logits. Received: values that are all from 0 to 1, as after a sigmoid. "
                "Give the model without it: the export adds the sigmoid."
            )
        return None

    def purpose(self, inputs, num_outputs):
        return f"A model that gives {inputs} any number of {num_outputs} labels"

    def examples_have(self, num_outputs):
        return f", each with any of {num_outputs:,} labels"

    def agreement_sentence(self, agreement):
        return f"On the test examples its labels are its teacher's with an F1 of {agreement:.3f}."


def average_precisions(*, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area below precision over recall by label, float64 `[num_labels]`; NaN where none has it.

    `sum over thresholds of (recall - recall at the threshold before) * precision`, without
    interpolation. Examples with the same score come in together, so their order does not matter.
    `labels` are 0 or 1, `scores` float, both `[n, num_labels]`.
    """
    columns = zip(np.asarray(labels).T, np.asarray(scores).T, strict=True)
    return np.array([_average_precision(*column) for column in columns])


def _average_precision(labels, scores) -> float:
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order] > 0, scores[order]
    if not labels.any():
        return np.nan
    last_of_equals = np.append(scores[1:] != scores[:-1], True)
    hits = np.cumsum(labels)[last_of_equals]
    taken = (1 + np.arange(len(labels)))[last_of_equals]
    recall = np.diff(hits, prepend=0) / hits[-1]
    return float(np.sum(recall * hits / taken))


def mean_of_known(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; 0 if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _same_labels(expected: np.ndarray, found: np.ndarray, undecided: np.ndarray) -> float:
    """F1 of the labels given, `undecided` ones left to the file; all of log-probabilities."""
    given = found > np.log(THRESHOLD)
    return _given_f1(np.where(undecided, given, expected > np.log(THRESHOLD)), given)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64)))


def _listed(given: np.ndarray, names: Sequence[str]) -> str:
    return ", ".join(names[index] for index in np.flatnonzero(given).tolist()) or "none of them"


def _given_f1(one: np.ndarray, other: np.ndarray) -> float:
    total = one.sum() + other.sum()
    return float(2 * (one & other).sum() / total) if total else 1.0


def _label_set(cell, separator: str) -> tuple[str, ...]:
    if is_list(cell):
        parts = tuple(dict.fromkeys(tidy(cell_text(each)) for each in cell))
        if "" in parts:
            raise ValueError(f"label {quote(cell)}: one of the list is missing")
    else:
        text = label_text(cell)
        if not text:
            raise ValueError(f"label: missing; write {separator!r} for none of the labels")
        parts = split_labels(text, separator)
    return tuple(map(one_line, parts))


def _training_problems(train, known, counts) -> list[str]:
    if not counts:
        return [f"{train.source}: no labels."]
    if len(counts) > 20 and len(counts) > len(known) / 2:
        return [
            f"{train.source}: the label column has {len(counts):,} different labels in "
            f"{len(known):,} rows, such as {quote(next(iter(counts)))}: too many to learn; name "
            "the right column, or another label_separator."
        ]
    if all(len(label) == 1 for label in known):
        return [
            f"{train.source}: each row has exactly one label, such as {quote(known[0][0])}; name "
            "what stands between labels with label_separator, or take task='single_label'."
        ]
    if all(set(label) == set(known[0]) for label in known):
        return [f"{train.source}: all rows have the same labels; there is nothing to learn."]
    return []
