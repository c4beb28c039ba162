"""DatasetOptions: how raw rows become a Dataset."""

from dataclasses import dataclass
from pathlib import Path

from mmkd_tf.tasks import TASKS

DEFAULT_SEPARATOR = "|"


@dataclass(frozen=True)
class DatasetOptions:
    """How raw rows become a Dataset, whatever they come from.

    Attributes:
        image_size: Height and width in pixels that pictures are stretched to; at least 8.
        text_length: Number of token ids that a text becomes; by default what 99 % of the training
            texts need, at most 32.
        vocabulary_size: Largest number of vocabulary entries; at least 3.
        seed: Seed of the random split.
        skip_bad_rows: Whether to go on without the rows that have a problem.
        allow_outside: Whether picture paths may lead out of the table's folder.
        folder: Folder that picture paths are relative to; by default the table file's own, for a
            DataFrame the current one.
        task: What is to be learned, one of `mmkd_tf.tasks.TASKS`; "auto" sees from the labels
            whether an example may have several of them, see `mmkd_tf.data.targets.choose_task`.
        label_separator: What stands between the labels of a cell that holds several.
    """

    image_size: int = 64
    text_length: int | None = None
    vocabulary_size: int = 2000
    seed: int = 0
    skip_bad_rows: bool = False
    allow_outside: bool = False
    folder: str | Path | None = None
    task: str = "auto"
    label_separator: str = DEFAULT_SEPARATOR

    def __post_init__(self):
        least = {"image_size": 8, "text_length": 1, "vocabulary_size": 3, "seed": 0}
        wrong = [
            f"`{name}`: a whole number, at least {low}. Received: {name}={value!r}."
            for name, low in least.items()
            if (value := getattr(self, name)) is not None
            and (not isinstance(value, int) or value < low)
        ]
        if self.folder is not None and not Path(self.folder).is_dir():
            wrong.append(f"`folder`: a folder that exists. Received: folder='{self.folder}'.")
        if self.task not in ("auto", *TASKS):
            wrong.append(f"`task`: auto, {', '.join(TASKS)}. Received: task={self.task!r}.")
        if not isinstance(self.label_separator, str) or not self.label_separator:
            wrong.append(
                "`label_separator`: what stands between labels, such as '|'. "
                f"Received: label_separator={self.label_separator!r}."
            )
        if wrong:
            raise ValueError("\n".join(wrong))


DEFAULTS = DatasetOptions()
