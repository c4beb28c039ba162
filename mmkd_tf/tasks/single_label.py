"""Single label: one of several classes an example."""

from collections import Counter

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf import losses
from mmkd_tf.modalities.cells import quote
from mmkd_tf.tasks.labels import (
    check_inputs,
    check_rows_left,
    is_list,
    label_text,
    look_like_no_classes,
    name_classes,
    near_name,
    one_line,
    read_each,
)
from mmkd_tf.tasks.outputs import (
    CLASS_COLUMNS,
    NEAR_TIE,
    SMALLEST,
    TIE,
    by_output,
    check_finite,
    ratio,
    reliability_bins,
)
from mmkd_tf.tasks.splits import numbered, stratified_split
from mmkd_tf.tasks.task import Answers, SoftTargetDefaults, Task, Words, calibration_gap


class SingleLabel(Task):
    """One of several classes. Labels: int32 `[n]`, the index of the class; outputs: logits."""

    name = "single_label"
    headline = "accuracy"
    output = "probabilities"
    file_format = 1
    soft_target_losses = {
        "divergence": (losses.soft_target_loss, {}),
        "dist": (losses.dist_loss, {}),
        "standardized": (losses.soft_target_loss, {"standardize": True}),
        "decoupled": (losses.decoupled_loss, {}),
    }
    min_outputs = 2
    has_one_class = True
    counts_outputs = True
    ignored_settings = {
        "teacher.embedding_dim": "whose models are no two towers",
        "data.label_separator": "whose label cells hold one label",
    }
    words = Words(
        columns=(
            ("accuracy", "accuracy", ".3f"),
            ("macro recall", "macro_recall", ".3f"),
            ("macro F1", "macro_f1", ".3f"),
            ("calibration error", "expected_calibration_error", ".3f"),
        ),
        per_output="per_class",
        output_columns=CLASS_COLUMNS,
        headline="accuracy",
        same="same class",
        meaning="Accuracy: share of the examples whose class is named. Macro recall and F1: means "
        "over the classes, so that rare ones count as much as frequent ones. Calibration error: "
        "how far the models' certainty is from their accuracy, 0 is best.",
        output_title="Class by class",
        output_meaning="Precision: of the examples that it gave this class, the share that has it. "
        "Recall: of the examples that have it, the share that got it.",
        truth="labels",
        limits="It knows the classes above and nothing else: it names one of them for any input.",
    )

    def read_labels(self, cells, *, separator, names):
        return read_each(cells, _class)

    def check(self, tables, *, held_out, names):
        labels = [label for rows in tables.values() for label in rows.labels]
        class_of, names = name_classes(labels, names)
        train = tables["train"]
        counts = Counter(class_of[label] for label in train.labels if label)
        general = check_rows_left(tables) or _training_problems(train, counts)
        if general:
            return class_of, names, general
        single = {name for name, count in counts.items() if count == 1 and held_out}
        for rows in tables.values():
            for index, label in enumerate(rows.labels):
                if not label:
                    continue
                if class_of[label] not in counts:
                    rows.add_problem(
                        index,
                        f"label {quote(label)}: no training row has it{near_name(label, counts)}",
                    )
                elif rows is train and class_of[label] in single:
                    rows.add_problem(
                        index,
                        f"label {quote(label)}: the only row of its class, which can't be in train "
                        f"and in {' and '.join(held_out)} too; add rows or merge classes"
                        f"{near_name(class_of[label], counts)}",
                    )
        return class_of, names, general

    def divide(self, labels, contents, *, fractions, seed):
        """Class by class; rows of the same content stay together, also those of two classes.

        Not the latter where a class has too few others for all splits: they may be all of it.
        """
        pairs = set(zip(contents, labels, strict=True))
        classes = Counter(content for content, _ in pairs)
        own = Counter(label for content, label in pairs if classes[content] == 1)
        together = all(own[label] > len(fractions) for label in set(labels))
        keys = contents if together else list(zip(contents, labels, strict=True))
        return stratified_split(labels, groups=numbered(keys), fractions=fractions, seed=seed)

    def label_array(self, labels, names):
        index_of = {name: index for index, name in enumerate(names)}
        return np.array([index_of[label] for label in labels], np.int32)

    def targets_of(self, labels, num_outputs):
        return np.eye(num_outputs)[labels]

    def output_counts(self, labels, names):
        bins = np.bincount(labels, minlength=len(names))
        return dict(zip(names, map(int, bins), strict=True))

    def fingerprint(self):
        return b""  # the first task: data of it had none

    def loss(self, statistics=None):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self):
        return ["accuracy"]

    def fits(self, loss):
        return isinstance(
            loss,
            keras.losses.SparseCategoricalCrossentropy
            | keras.losses.CategoricalCrossentropy
            | keras.losses.CategoricalFocalCrossentropy,
        )

    def soft_targets(self, loss=None):
        return SoftTargetDefaults(losses.soft_target_loss, temperature=2.0, weight=0.5)

    def measure(self, *, labels, outputs, names, inputs=()):
        """Measures a classifier.

        Returns:
            `accuracy`; `macro_recall`, the mean recall of the classes that the split has;
            `macro_f1`, the mean F1 of those that it has or the model names;
            `expected_calibration_error`; `per_class`, a list of `name`, `precision`, `recall`,
            `f1`, all 0 to 1, and `support`, the number of examples; `confusion_matrix`, counts
            with a row for each label and a column for each prediction.
        """
        labels, logits = np.asarray(labels), np.asarray(outputs, np.float64)
        _check_outputs(labels, logits, len(names))
        confusion = np.zeros([len(names), len(names)], int)
        np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
        hits = np.diag(confusion).astype(float)
        support, named = confusion.sum(axis=1), confusion.sum(axis=0)
        recall, f1 = ratio(hits, support), ratio(2 * hits, support + named)
        per_class = {"name": list(names), "precision": ratio(hits, named), "recall": recall}
        return {
            "accuracy": float(hits.sum() / len(labels)),
            "macro_recall": float(recall[support > 0].mean()),
            "macro_f1": float(f1[support + named > 0].mean()),
            "expected_calibration_error": expected_calibration_error(labels=labels, logits=logits),
            "per_class": by_output({**per_class, "f1": f1, "support": support}),
            "confusion_matrix": confusion.tolist(),
        }

    def score(self, *, labels, outputs):
        return float(np.mean(np.argmax(outputs, axis=1) == labels))

    def agreement(self, *, teacher_outputs, student_outputs):
        same = np.argmax(teacher_outputs, axis=1) == np.argmax(student_outputs, axis=1)
        return float(np.mean(same))

    def study_scores(self, *, labels, outputs):
        """Accuracy, cross-entropy in nats and macro F1."""
        figures = super().study_scores(labels=labels, outputs=outputs)
        log_probs = log_softmax(outputs)[np.arange(len(labels)), labels]
        return {
            "accuracy": figures["accuracy"],
            "cross_entropy": float(-log_probs.mean()),
            "macro_f1": figures["macro_f1"],
        }

    def example_scores(self, *, labels, outputs):
        return (np.argmax(outputs, axis=1) == labels).astype(np.float64)

    def naive_outputs(self, *, training_labels, labels, names):
        counts = np.bincount(training_labels, minlength=len(names))
        outputs = np.tile(np.log(np.maximum(counts, SMALLEST)), (len(labels), 1))
        return outputs, f"always naming {names[counts.argmax()]}"

    def reliability(self, *, labels, outputs):
        return _reliability(labels, outputs)

    def label_words(self, labels, names):
        return [names[label] for label in labels]

    def answers(self, *, labels, outputs, names, inputs=()):
        probs = np.exp(log_softmax(outputs))
        named, sure = probs.argmax(axis=1), probs.max(axis=1)
        return Answers([names[index] for index in named], sure * (named != labels), sure)

    def disagreement(self, *, labels, outputs, others):
        """How sure both are of the classes that they name, where these are two."""
        both = [np.exp(log_softmax(each)) for each in (outputs, others)]
        first, second = (probs.argmax(axis=1) for probs in both)
        return (first != second) * sum(probs.max(axis=1) for probs in both) / 2

    def activate(self, outputs, name=None):
        return tf.nn.softmax(tf.cast(outputs, tf.float32), name=name)

    def deactivate(self, answers):
        return np.log(np.maximum(answers, SMALLEST))

    def comparable(self, outputs, answers, labels=None):
        logits, answers = outputs.astype(np.float64), answers.astype(np.float64)
        scale = np.abs(logits - logits.mean(axis=1, keepdims=True)).max()
        expected = np.maximum(log_softmax(logits), np.log(SMALLEST))
        return expected, self.deactivate(answers), max(1.0, scale)

    def spread(self, expected):
        """About the mean of an example's classes."""
        return super().spread(expected.T)

    def same_answers(self, expected, found):
        """Share with the same first class; what Keras holds equal up to 1e-6 nats counts too."""
        return float(np.mean(_of_file(expected, found) >= expected.max(axis=1) - TIE))

    def good_answers(self, expected, found):
        likely = np.exp(_of_file(expected, found)) >= np.exp(expected.max(axis=1)) - NEAR_TIE
        return max(float(np.mean(likely)), self.same_answers(expected, found))

    def label_problems(self, labels, num_outputs):
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            return [
                "`labels`: integers [n], the index of each example's class. Received: "
                f"{labels.dtype} {list(labels.shape)}. Of one-hot rows take argmax(axis=1)."
            ]
        if not labels.size or 0 <= labels.min() <= labels.max() < num_outputs:
            return []
        return [
            f"`labels`: from 0 to {num_outputs - 1}, for {num_outputs} class names. "
            f"Received: from {labels.min()} to {labels.max()}."
        ]

    def output_problems(self, outputs):
        if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
            return (
                "`model`: logits. Received: rows that sum to 1, as after a softmax. "
                "Give the model without it: keras.Model(model.inputs, logits), or a last Dense "
                "layer with activation=None. The export adds the softmax."
            )
        return None

    def purpose(self, inputs, num_outputs):
        return f"A classifier for {inputs} into {num_outputs} classes"

    def examples_have(self, num_outputs):
        return f" in {num_outputs:,} classes"

    def agreement_sentence(self, agreement):
        return f"It names the same class as its teacher for {agreement:.1%} of the test examples."


def expected_calibration_error(
    *, labels: np.ndarray, logits: np.ndarray, num_bins: int = 15
) -> float:
    """How far confidence is from accuracy, 0 (take probabilities at their word) to 1.

    Mean over the examples of `|accuracy - confidence|` of their bin, by the probability of the
    predicted class in bins of equal width. `labels` are int `[n]`, `logits` `[n, num_classes]`.
    """
    return calibration_gap(_reliability(labels, logits, num_bins))


def _reliability(labels: np.ndarray, logits: np.ndarray, num_bins: int = 15) -> list[dict]:
    log_probs = log_softmax(logits)
    right = log_probs.argmax(axis=1) == labels
    confidence = np.exp(log_probs.max(axis=1))
    return reliability_bins(confidence=confidence, right=right, num_bins=num_bins)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities in float64, over the last axis."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _class(cell) -> str:
    if is_list(cell):
        raise ValueError(f"label {quote(cell)}: a list; one class, or task='multi_label'")
    if not (text := label_text(cell)):
        raise ValueError("label: missing")
    return one_line(text)


def _training_problems(train, counts: Counter) -> list[str]:
    general = []
    if reason := look_like_no_classes(list(counts), counts.total()):
        general.append(f"{train.source}: the label column has {reason}.")
    if len(counts) < 2:
        classes = f"one class only, {quote(*counts)}" if counts else "no labels"
        general.append(f"{train.source}: {classes}; a classifier needs two or more.")
    return general + check_inputs(train)


def _check_outputs(labels: np.ndarray, logits: np.ndarray, num_classes: int) -> None:
    if logits.shape != (len(labels), num_classes) or not len(labels):
        raise ValueError(
            "`logits`: shape (examples, classes), at least one example. Received: logits of "
            f"shape {logits.shape} for {len(labels)} labels and {num_classes} class names."
        )
    check_finite(logits, argument="logits")


def _of_file(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """What Keras says of the file's first class, `[n]`."""
    return np.take_along_axis(expected, found.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
