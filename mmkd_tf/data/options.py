"""Options: how raw rows become a Dataset, which inputs they have, and how they are divided."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mmkd_tf.modalities import input_options, unfit_input_name
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.tasks import TASKS
from mmkd_tf.tasks.labels import DEFAULT_SEPARATOR

# The arguments of the short form, by the options that they are.
_SHORT = {
    "image.size": "image_size",
    "text.length": "text_length",
    "text.vocabulary_size": "vocabulary_size",
}


@dataclass(frozen=True)
class DatasetOptions:
    """How raw rows become a Dataset, whatever they come from.

    Attributes:
        image_size: Height and width in pixels that pictures are stretched to; at least 8. As the
            next two, for the inputs `image` and `text`; inputs by name have options of their own.
        text_length: Number of token ids that a text becomes; by default what 99 % of the training
            texts need, at most 32.
        vocabulary_size: Largest number of vocabulary entries; at least 3.
        seed: Seed of the random split.
        skip_bad_rows: Whether to go on without the rows that have a problem.
        allow_outside: Whether picture paths may lead out of the table's folder.
        folder: Folder that picture paths are relative to; by default the table file's own, for a
            DataFrame the current one.
        task: What is to be learned, one of `mmkd_tf.tasks.TASKS`; "auto" sees from the labels
            whether an example may have several of them, see `mmkd_tf.tasks.choose_task`.
        label_separator: What stands between the labels of a cell that holds several.
        unlabelled: Rows without labels, of which a student learns what its teacher says: a table
            with columns of the inputs, a folder of pictures, or a text file with one text a line;
            see `mmkd_tf.data.unlabelled`.
        unlabelled_rows: Whether rows of the (main) table with empty label cells are such rows too;
            otherwise they are bad.
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
    unlabelled: object = None
    unlabelled_rows: bool = False

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


def named_inputs(
    inputs: Mapping[str, Mapping | InputOptions] | None,
    *,
    image: str | None,
    text: str | None,
    options: DatasetOptions,
) -> dict[str, InputOptions]:
    """Gives the options of each input, its `column` among them, of either form of the arguments.

    The short form has `inputs=None`: columns of the inputs `image` and `text`, with the sizes of
    `options`.

    Raises:
        ValueError: If an argument does not fit, or would have no effect; lists all problems.
    """
    wrong = []
    in_short = inputs is None
    if in_short:
        inputs = {}
        if image is not None:
            inputs["image"] = {"kind": "image", "column": image, "size": options.image_size}
        if text is not None:
            inputs["text"] = {
                "kind": "text",
                "column": text,
                "length": options.text_length,
                "vocabulary_size": options.vocabulary_size,
            }
        if not inputs:
            wrong.append(
                "`image`, `text`: a column for one of them at least. "
                "Received: image=None, text=None."
            )
    else:
        wrong = _without_effect(options, image=image, text=text)
        if not isinstance(inputs, Mapping) or not inputs:
            wrong.append(
                "`inputs`: by name of an input, its options, such as {'photo': {'kind': 'image'}}. "
                f"Received: inputs={inputs!r}."
            )
            inputs = {}
    made = {}
    for name, settings in inputs.items():
        if reason := unfit_input_name(name):
            wrong.append(f"`inputs`: {reason}. Received: {name!r}.")
            continue
        if isinstance(settings, Mapping) and settings.get("student"):
            wrong.append(
                f"`inputs`, '{name}', student: nothing, since all models read the same. Received: "
                f"{settings['student']!r}. Give it to for_student with the Dataset."
            )
        try:
            options_of_kind = input_options(settings)
        except ValidationError as error:
            wrong += _problems(error, name, in_short=in_short)
        except ValueError as error:
            wrong.append(f"`inputs`, '{name}': {error}")
        else:
            column = options_of_kind.column or name
            made[name] = options_of_kind.model_copy(update={"column": column})
    if wrong:
        raise ValueError("\n".join(wrong))
    return made


def _problems(error: ValidationError, name: str, *, in_short: bool) -> list[str]:
    """Says what is wrong with the options of an input, by the names that people gave."""
    problems = []
    for one in error.errors():
        field = ".".join(map(str, one["loc"]))
        place = f"`inputs`, '{name}'" + (f", {field}" if field else "")
        if in_short:
            place = "`" + _SHORT.get(f"{name}.{field}", name) + "`"
        message = one["msg"].removeprefix("Value error, ").rstrip(".")
        problems.append(f"{place}: {message}. Received: {one['input']!r}.")
    return problems


def _without_effect(options: DatasetOptions, **columns: str | None) -> list[str]:
    """Names what only the short form reads, where it is not the default."""
    given = {name: column for name, column in columns.items() if column != name}
    for name in _SHORT.values():
        if (value := getattr(options, name)) != getattr(DEFAULTS, name):
            given[name] = value
    return [
        f"`{name}`: nothing beside `inputs`, which has all of its inputs. "
        f"Received: {name}={value!r}. Write it there."
        for name, value in given.items()
    ]


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raises a ValueError unless each fraction is above 0 and something is left for training."""
    wrong = [
        f"`{split}`: a fraction above 0 and below 1, or a table. Received: {split}={fraction!r}."
        for split, fraction in fractions.items()
        if not 0 < fraction < 1
    ]
    if not wrong and sum(fractions.values()) >= 1:
        received = ", ".join(f"{split}={fraction!r}" for split, fraction in fractions.items())
        wrong = [
            f"`{'`, `'.join(fractions)}`: fractions that leave rows for training. "
            f"Received: {received}."
        ]
    if wrong:
        raise ValueError("\n".join(wrong))
