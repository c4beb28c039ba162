"""Task: what a model answers, with everything that differs from one kind of answer to another."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

MISSING = ""  # a row's label where it has none, or none that can be read

Columns = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class SoftTargetDefaults:
    """How a student imitates its teacher where nobody says otherwise.

    The same for `Distiller.compile` and for `mmkd-tf run`.
    """

    loss: Callable  # of `mmkd_tf.losses`, with `teacher_logits` and `student_logits`
    temperature: float | None = 4.0  # above 0; None for a loss that has none
    weight: float = 0.2  # of the soft targets
    hard_label_weight: float = 1.0  # of the loss on the labels
    options: Mapping = field(default_factory=dict)  # further arguments of the loss


@dataclass(frozen=True)
class Words:
    """How a task is written about. Columns are the title, key and format of each figure."""

    columns: Columns  # by which models are compared; the last only where there is room
    per_output: str  # key of the list of figures by output
    output_columns: Columns  # of that list's entries
    headline: str  # what the headline figure is called
    same: str  # what a narrow column says of a file that answers as Keras does
    meaning: str  # what the figures of `columns` are
    output_title: str  # what a section on the single outputs is called
    output_meaning: str  # what its figures are
    truth: str  # what models learn from beside a teacher
    limits: str  # what the model does not know

    @property
    def output(self) -> str:
        """What one output is called."""
        return self.per_output.removeprefix("per_")

    @property
    def outputs(self) -> str:
        """What several outputs are called."""
        return self.output + ("es" if self.output.endswith("s") else "s")


@dataclass(frozen=True)
class Answers:
    """What a model says of examples, for people.

    Attributes:
        words: What it says of each.
        mistakes: How bad that is, float64 `[n]`, 0 where it is right; of classes and labels how
            sure the model is of what is wrong.
        sure: How sure it is, float64 `[n]`, 0 to 1; None where a model does not say.
    """

    words: list[str]
    mistakes: np.ndarray
    sure: np.ndarray | None = None


class Task(ABC):
    """The contract of a task. Abstract; the final classes lie beside it, one a file.

    A task keeps no data: what follows from the data is an argument. `labels` are arrays as
    `label_array` makes them, `outputs` are what a model gives before any activation, float
    `[n, num_outputs]`, and `names` are the names of the outputs in their order.

    Attributes:
        name: Its name in settings, results and files.
        headline: Key of the one figure in `measure` that stands for the others; 1 is best.
        words: How it is written about.
        output: Name of the output of an exported file, `probabilities`, `values` or `embedding`,
            which decides which class of `mmkd_tf.edge` reads it.
        output_range: Least and greatest value of that output; None if there is none.
        threshold: Probability above which an output is given, where any number of them may be.
        file_format: The first format of exported files that knows this task.
        soft_target_losses: By the name that settings have for it, a loss and its options; the
            first is the default.
        unfit_soft_targets: Losses of `mmkd_tf.losses` on logits that make no sense here, such as
            those over classes where outputs are numbers.
        min_outputs: The fewest outputs of a model.
        has_labels: Whether examples have label cells; pairs say by themselves what they are.
        is_pairwise: Whether each input is encoded by itself, to be found by the other, so that
            models are two towers and files one for each.
        has_one_class: Whether an example has exactly one class, so that one can ask whether a
            teacher is right about it.
        counts_outputs: Whether examples of an output can be counted (classes, labels).
        takes_lists: Whether the label of an example may be a list of labels.
        takes_numbers: Whether labels are numbers of any kind, not names.
        ignored_settings: Settings (dotted, as in the YAML file) that have no effect with this
            task, each with the reason, such as "whose outputs are no probabilities".
    """

    name: str
    headline: str
    words: Words
    output: str
    output_range: tuple[float, float] | None = (0, 1)
    threshold: float | None = None
    file_format: int = 2
    soft_target_losses: Mapping[str, tuple[Callable, Mapping]]
    unfit_soft_targets: tuple[Callable, ...] = ()
    min_outputs: int = 1
    has_labels: bool = True
    is_pairwise: bool = False
    has_one_class: bool = False
    counts_outputs: bool = False
    takes_lists: bool = False
    takes_numbers: bool = False
    ignored_settings: Mapping[str, str] = {}

    @property
    def gives_probabilities(self) -> bool:
        """Whether outputs are logits of classes or labels, which a temperature may soften."""
        return self.output == "probabilities"

    @property
    def gives_embeddings(self) -> bool:
        """Whether outputs are points of a space that a model makes for itself.

        So those of several models, such as the heads of a cross-fitted teacher, have no mean.
        """
        return self.output == "embedding"

    # Reading labels. Rows are `mmkd_tf.data.rows.Rows`; tables are Rows by split, of `train` and
    # of those other splits that have rows of their own.

    def label_columns(self, label: str | Sequence[str]) -> list[str]:
        """Names of the label columns that a setting means; one unless the task has several.

        Raises:
            ValueError: If names are empty, come twice, or are several where one is wanted.
        """
        names = [label] if isinstance(label, str) else [str(name) for name in label]
        if len(names) != 1 or not names[0]:
            raise ValueError(
                "`label`: one column, several only with task='regression'. Received: "
                f"label={label!r}, task={self.name!r}."
            )
        return names

    @abstractmethod
    def read_labels(
        self, cells: Sequence[tuple], *, separator: str, names: Sequence[str]
    ) -> tuple[list, dict[int, str]]:
        """Reads label cells.

        Args:
            cells: For each row a tuple with a cell of each of `label_columns`.
            separator: What stands between the labels of a cell that holds several.
            names: What the columns are called, for messages.

        Returns:
            For each row its label, `MISSING` where there is none; by index of a row, what is wrong
            with its label.
        """

    def output_names(self, columns: Sequence[str]) -> list[str] | None:
        """Names of the outputs that are known before rows are read; None if labels say them."""
        return None

    def complete(self, tables: Mapping) -> tuple[dict, list[str]]:
        """Leaves out rows that can't be examples of this task; gives tables and notes."""
        return dict(tables), []

    @abstractmethod
    def check(
        self, tables: Mapping, *, held_out: Sequence[str], names: Sequence[str] | None
    ) -> tuple[dict[str, str], list[str], list[str]]:
        """Checks the labels of all tables together, and adds to the problems of their rows.

        Args:
            tables: Rows by split.
            held_out: Names of the splits that are taken out of `train`.
            names: The outputs' names if they are known beforehand.

        Returns:
            The output's name of each label text (empty where labels are no names); the outputs'
            names in order; what is wrong with the data as a whole.
        """

    def number(self, tables: Mapping) -> None:  # noqa: B027
        """Makes labels of what rows have in common, where there are no label cells."""

    @abstractmethod
    def divide(
        self, labels: Sequence, contents: Sequence[Hashable], *, fractions: Mapping, seed: int
    ) -> dict[str, np.ndarray]:
        """Divides rows so that splits are alike; those of the same content stay together.

        Args:
            labels: Label of each row.
            contents: Content of each row.
            fractions: By name of a held-out split, the fraction of rows that it gets.
            seed: Seed of the choice; the same seed gives the same split.

        Returns:
            Row indices in rising order, by split: `train` and the names of `fractions`.
        """

    def training_problems(self, labels: Sequence, names: Sequence[str]) -> list[str]:
        """Says why what is left for training teaches nothing; empty if it does."""
        return []

    @abstractmethod
    def label_array(self, labels: Sequence, names: Sequence[str]) -> np.ndarray:
        """Makes the array of labels that are all there and known."""

    def output_counts(self, labels: np.ndarray, names: Sequence[str]) -> dict[str, int]:
        """Number of examples by output; empty where they can't be counted."""
        return {}

    def target_statistics(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and standard deviation of each training target, float64; None if no numbers."""
        return None

    def fingerprint(self) -> bytes:
        """What tells this task from another of the same examples."""
        return self.name.encode()

    # Training.

    def targets_of(self, labels: np.ndarray, num_outputs: int) -> np.ndarray | None:
        """What a linear model would be fitted to: float `[n, num_outputs]`; None if nothing."""
        return np.asarray(labels, float).reshape(len(labels), -1)

    @abstractmethod
    def loss(self, statistics: tuple | None = None) -> keras.losses.Loss:
        """The Keras loss of labels and outputs; `statistics` are `target_statistics`."""

    def trained_with(
        self, model: keras.Model, labels: np.ndarray, *, seed: int
    ) -> tuple[keras.Model, keras.losses.Loss]:
        """What is trained in place of a model, and by which loss: the model itself.

        Where training asks for more than a finished model has, such as what is learnt of each
        training identity, it is a model that shares all other layers.

        Args:
            model: Functional, as it is finished.
            labels: Those of the training examples.
            seed: Seed of what is added.
        """
        return model, self.loss(self.target_statistics(labels))

    @abstractmethod
    def metrics(self) -> list:
        """Keras metrics for one training; the first is shown to people."""

    @abstractmethod
    def fits(self, loss: keras.losses.Loss) -> bool:
        """Whether a Keras loss takes labels and outputs as this task has them."""

    @abstractmethod
    def soft_targets(self, loss: keras.losses.Loss | None = None) -> SoftTargetDefaults:
        """How a student imitates its teacher by default, beside this loss on the labels."""

    def head(self, outputs: keras.KerasTensor, statistics: tuple | None) -> keras.KerasTensor:
        """Makes of the last dense layer's result what the model gives; logits stay as they are."""
        return outputs

    # Evaluation.

    @abstractmethod
    def measure(
        self,
        *,
        labels: np.ndarray,
        outputs: np.ndarray,
        names: Sequence[str],
        inputs: Sequence[str] = (),
    ) -> dict:
        """All figures of a model on a split, `headline` among the keys.

        `inputs` are the names of the model's inputs, by which a pairwise task names directions.

        Raises:
            ValueError: If shapes don't fit, there are no examples, or outputs are not finite.
        """

    @abstractmethod
    def score(self, *, labels: np.ndarray, outputs: np.ndarray) -> float:
        """The headline of `measure` alone, in less time."""

    @abstractmethod
    def agreement(self, *, teacher_outputs: np.ndarray, student_outputs: np.ndarray) -> float:
        """How much a student says what its teacher says, 1 if it says the same."""

    def study_scores(self, *, labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """The few figures by which a study compares models, the headline first."""
        names = list(map(str, range(outputs.shape[1])))
        figures = self.measure(labels=labels, outputs=outputs, names=names)
        return {key: figures[key] for _, key, _ in self.words.columns[:3]}

    def example_scores(self, *, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray | None:
        """float64 `[n]` whose mean is `score`; None where it is no mean over examples."""
        return None

    def naive_outputs(
        self, *, training_labels: np.ndarray, labels: np.ndarray, names: Sequence[str]
    ) -> tuple[np.ndarray, str]:
        """The best that can be said without looking at inputs, beside which a model is judged.

        Returns:
            Outputs for examples with these labels, and what they are, such as "always naming cup".
        """
        targets = self.targets_of(training_labels, len(names))
        if targets is None or targets.shape[1] != len(names):
            return np.zeros([len(labels), len(names)]), "always giving zeros"
        return np.tile(targets.mean(axis=0), (len(labels), 1)), "always giving the mean of training"

    def reliability(self, *, labels: np.ndarray, outputs: np.ndarray) -> list[dict] | None:
        """How often a model is right where it is so sure, see `tasks.outputs.reliability_bins`.

        None where outputs are no probabilities.
        """
        return None

    def calibration_error(self, *, labels: np.ndarray, outputs: np.ndarray) -> float | None:
        """How far a model's certainty is from being right, 0 to 1; None of no probabilities."""
        bins = self.reliability(labels=labels, outputs=outputs)
        return None if bins is None else calibration_gap(bins)

    # Single examples, for people.

    def label_words(self, labels: np.ndarray, names: Sequence[str]) -> list[str]:
        """What is true of each example; empty where the example says it itself."""
        return [""] * len(labels)

    def answers(
        self,
        *,
        labels: np.ndarray,
        outputs: np.ndarray,
        names: Sequence[str],
        inputs: Sequence[str] = (),
    ) -> Answers:
        """What a model says of each example; `inputs` as in `measure`."""
        return Answers([""] * len(labels), np.zeros(len(labels)))

    def disagreement(
        self, *, labels: np.ndarray, outputs: np.ndarray, others: np.ndarray
    ) -> np.ndarray:
        """How far two models say different things of each example, float64 `[n]`, 0 for the same.

        `labels` tell what differences are large: the deviation of numbers, ranks of candidates.
        """
        return np.zeros(len(labels))

    # Export. A file gives `activate(outputs)`.

    def activate(self, outputs: tf.Tensor, name: str | None = None) -> tf.Tensor:
        """What a file gives, float32: probabilities, or the outputs as they are."""
        return tf.identity(tf.cast(outputs, tf.float32), name=name)

    def deactivate(self, answers: np.ndarray) -> np.ndarray:
        """Undoes `activate`, up to rounding and to what does not count."""
        return answers

    @abstractmethod
    def comparable(
        self, outputs: np.ndarray, answers: np.ndarray, labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Keras' outputs and a file's answers in one space, float64, and the scale of rounding."""

    def spread(self, expected: np.ndarray) -> float:
        """Root mean square of comparable outputs about the mean of each."""
        deviations = expected - expected.mean(axis=0, keepdims=True)
        return float(np.sqrt(np.mean(np.square(deviations))))

    @abstractmethod
    def same_answers(self, expected: np.ndarray, found: np.ndarray) -> float:
        """Share of a file's answers that are Keras', 0 to 1, of what `comparable` gives."""

    def good_answers(self, expected: np.ndarray, found: np.ndarray) -> float:
        """As `same_answers`, but what Keras holds nearly as likely as its own answer counts too.

        Where two classes are within `NEAR_TIE` of probability, either is as good, and whether
        rounding changes the first one is chance: a few such rows are a percent of a small split.
        """
        return self.same_answers(expected, found)

    def file_threshold(self, *, labels: np.ndarray, outputs: np.ndarray) -> float | None:
        """Above which a file's answer says yes, found on validation; None if nothing is found."""
        return self.threshold

    def file_score(self, *, labels: np.ndarray, answers: np.ndarray) -> float:
        """The headline figure of a file's answers."""
        return self.score(labels=labels, outputs=answers)

    @abstractmethod
    def label_problems(self, labels: np.ndarray, num_outputs: int) -> list[str]:
        """What is wrong with the labels by which an exported file is measured."""

    def output_problems(self, outputs: np.ndarray) -> str | None:
        """Says why finite outputs of Keras can't be meant, such as probabilities; else None."""
        return None

    def name_problems(self, names: Sequence[str], num_outputs: int) -> list[str]:
        """What is wrong with the number of the outputs' names."""
        if len(names) == num_outputs:
            return []
        return [
            f"`class_names`: one for each of the model's {num_outputs} outputs. "
            f"Received: {len(names)} names. Give them in the order of the labels."
        ]

    # Words for people that depend on figures.

    @abstractmethod
    def purpose(self, inputs: str, num_outputs: int) -> str:
        """Says what a model is for; `inputs` such as "image and text"."""

    @abstractmethod
    def examples_have(self, num_outputs: int) -> str:
        """Says what examples have, as the end of a sentence on their number."""

    @abstractmethod
    def agreement_sentence(self, agreement: float) -> str:
        """Says how far a student does what its teacher does on the test examples."""

    def describe(self, labels: Mapping[str, np.ndarray], names: Sequence[str]) -> list[str]:
        """Lines about the labels of a Dataset, by split: the first says how many outputs."""
        counts = [self.output_counts(of_split, names) for of_split in labels.values()]
        width = max(map(len, names), default=0)
        rows = names if self.counts_outputs else ()
        return [f"{len(names)} {self.words.outputs}"] + [
            f"{name:<{width}} " + " ".join(f"{of[name]:>7,}" for of in counts) for name in rows
        ]


def calibration_gap(bins: Sequence[Mapping]) -> float:
    """Expected calibration error: how far probabilities are from how often they come true.

    The mean over the examples of `|right - confidence|` of their bin, see
    `mmkd_tf.tasks.outputs.reliability_bins`.

    References:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """
    gaps = [each["count"] * abs(each["right"] - each["confidence"]) for each in bins]
    return float(sum(gaps) / sum(each["count"] for each in bins))
