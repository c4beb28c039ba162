"""What reports say of each task: columns, sentences and code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """How a task is written about.

    Attributes:
        columns: Title, key and format of the figures by which models are compared; the last of
            them only where there is room.
        per_output: Key of the list of figures by output.
        output_columns: The same as `columns` for its entries.
        headline: What the headline figure is called.
        short_headline: The same in a narrow column.
        same: What a narrow column says of a file that answers as Keras does.
        meaning: What the figures of `columns` are.
        output_title: What a section on the single outputs is called.
        output_meaning: What its figures are.
        truth: What models learn from beside a teacher.
        reader: The class of `mmkd_tf.edge` that reads the file.
        limits: What the model does not know.
    """

    columns: tuple[tuple[str, str, str], ...]
    per_output: str
    output_columns: tuple[tuple[str, str, str], ...]
    headline: str
    short_headline: str
    same: str
    meaning: str
    output_title: str
    output_meaning: str
    truth: str
    reader: str
    limits: str

    @property
    def output(self) -> str:
        """What one output is called."""
        return self.per_output.removeprefix("per_")


WORDS = {
    "single_label": Words(
        columns=(
            ("accuracy", "accuracy", ".3f"),
            ("macro recall", "macro_recall", ".3f"),
            ("macro F1", "macro_f1", ".3f"),
            ("calibration error", "expected_calibration_error", ".3f"),
        ),
        per_output="per_class",
        output_columns=(
            ("precision", "precision", ".3f"),
            ("recall", "recall", ".3f"),
            ("F1", "f1", ".3f"),
            ("test examples", "support", ""),
        ),
        headline="accuracy",
        short_headline="accuracy",
        same="same class",
        meaning="Accuracy: share of the examples whose class is named. Macro recall and F1: means "
        "over the classes, so that rare ones count as much as frequent ones. Calibration error: "
        "how far the models' certainty is from their accuracy, 0 is best.",
        output_title="Class by class",
        output_meaning="Precision: of the examples that it gave this class, the share that has it. "
        "Recall: of the examples that have it, the share that got it.",
        truth="labels",
        reader="Classifier",
        limits="It knows the classes above and nothing else: it names one of them for any input.",
    ),
    "multi_label": Words(
        columns=(
            ("average precision", "average_precision", ".3f"),
            ("micro F1", "micro_f1", ".3f"),
            ("macro F1", "macro_f1", ".3f"),
            ("all labels right", "subset_accuracy", ".3f"),
        ),
        per_output="per_label",
        output_columns=(
            ("average precision", "average_precision", ".3f"),
            ("precision", "precision", ".3f"),
            ("recall", "recall", ".3f"),
            ("F1", "f1", ".3f"),
            ("test examples", "support", ""),
        ),
        headline="average precision",
        short_headline="AP",
        same="same labels",
        meaning="Average precision: how far a label's examples come before the others when they "
        "are sorted by its probability, a mean over the labels. F1 is of the labels given, those "
        "above a half: micro over all of them, macro as a mean over the labels. All labels right: "
        "share of the examples with none missing and none too many.",
        output_title="Label by label",
        output_meaning="Precision: of the examples that it gave this label, the share that has it. "
        "Recall: of the examples that have it, the share that got it.",
        truth="labels",
        reader="Classifier",
        limits="It knows the labels above and nothing else, and gives those that it holds more "
        "probable than not.",
    ),
    "regression": Words(
        columns=(
            ("R2", "r2", ".3f"),
            ("mean absolute error", "mean_absolute_error", ".4g"),
            ("root mean squared error", "root_mean_squared_error", ".4g"),
        ),
        per_output="per_target",
        output_columns=(
            ("R2", "r2", ".3f"),
            ("mean absolute error", "mean_absolute_error", ".4g"),
            ("root mean squared error", "root_mean_squared_error", ".4g"),
            ("standard deviation", "standard_deviation", ".4g"),
        ),
        headline="R2",
        short_headline="R2",
        same="near Keras",
        meaning="R2: the share of the variance that is explained, 1 is perfect, 0 as good as the "
        "mean. Errors are in the targets' own units. All are means over the targets.",
        output_title="Target by target",
        output_meaning="The standard deviation of the test values is what errors are to be "
        "compared with.",
        truth="numbers",
        reader="Regressor",
        limits="It gives numbers for any input, and none about how sure it is of them.",
    ),
    "retrieval": Words(
        columns=(
            ("recall at 10", "recall_at_10", ".3f"),
            ("recall at 1", "recall_at_1", ".3f"),
            ("mean reciprocal rank", "mean_reciprocal_rank", ".3f"),
            ("recall at 5", "recall_at_5", ".3f"),
        ),
        per_output="per_direction",
        output_columns=(
            ("recall at 1", "recall_at_1", ".3f"),
            ("recall at 5", "recall_at_5", ".3f"),
            ("recall at 10", "recall_at_10", ".3f"),
            ("median rank", "median_rank", ".4g"),
            ("candidates", "num_candidates", ""),
        ),
        headline="recall at 10",
        short_headline="recall@10",
        same="near Keras",
        meaning="Recall at 10: share of the pictures and texts that meet one that belongs to them "
        "among the ten best of the whole split. Mean reciprocal rank: mean of 1 / the rank of the "
        "first right one. Both directions count alike.",
        output_title="Direction by direction",
        output_meaning="Median rank: half of the queries meet a right one up to there.",
        truth="pairs",
        reader="Encoder",
        limits="It finds the best of the candidates, be there a right one or not, and knows no "
        "words but those of its vocabulary.",
    ),
}


def task_of(values: dict) -> str:
    """The task that results, or figures of an exported file, are of; older ones do not say."""
    return values.get("task", "single_label")


def purpose(task: str, names: str, num_outputs: int) -> str:
    """Says what a model is for.

    Args:
        task: The task.
        names: Names of the modalities, such as "image and text".
        num_outputs: Number of classes, labels or targets.
    """
    if task == "single_label":
        return f"A classifier for {names} into {num_outputs} classes"
    if task == "multi_label":
        return f"A model that gives {names} any number of {num_outputs} labels"
    if task == "retrieval":
        return "Two encoders that put pictures and texts that belong together near each other"
    return f"A model that tells {_numbers(num_outputs)} from {names}"


def having(task: str, num_outputs: int) -> str:
    """Says what examples have, as the end of a sentence on their number."""
    if task == "single_label":
        return f" in {num_outputs:,} classes"
    if task == "multi_label":
        return f", each with any of {num_outputs:,} labels"
    if task == "retrieval":
        return ", each a picture and a text that belong together"
    return f", each with {_numbers(num_outputs)}"


def _numbers(count: int) -> str:
    return "a number" if count == 1 else f"{count:,} numbers"


def likeness(task: str, agreement: float) -> str:
    """Says how far a student does what its teacher does."""
    if task == "single_label":
        return f"It names the same class as its teacher for {agreement:.1%}."
    if task == "multi_label":
        return f"Its labels are those of its teacher with an F1 of {agreement:.3f}."
    if task == "retrieval":
        return f"The candidate that it puts first is its teacher's first for {agreement:.1%}."
    return f"Its values explain those of its teacher with an R2 of {agreement:.3f}."


def capitalized(words: str) -> str:
    """Begins words with a capital; what is in capitals stays so."""
    return words[:1].upper() + words[1:]


def figure(value: float | None, form: str) -> str:
    """Writes a figure; a dash where there is none."""
    return "-" if value is None else format(value, form)
