"""RunConfig: everything that a run can be told, from flags or a YAML file, checked at once."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=1)]

# What the written method's teacher is made for; see `models.classifier.document_teacher`.
DOCUMENT_SIZES = {"image_size": 224, "text_length": 100, "vocabulary_size": 10_000}


class RunConfig(BaseModel):
    """The settings of `mmkd-tf run`; each is also a key of the YAML file.

    Values are checked when the object is made; unknown keys are refused. `data` is a table's
    path or the name of a TensorFlow dataset.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field("emoji", description="A CSV or Parquet table, or a TensorFlow Datasets name.")
    image: str | None = Field("image", description="Column of picture paths; none for no pictures.")
    text: str | None = Field("text", description="Column of texts; none for no texts.")
    label: str | list[str] = Field("label", description="Column of labels, or of targets.")
    task: Literal["auto", "single_label", "multi_label", "regression", "retrieval"] = Field(
        "auto", description="What is learned; by default the label column decides."
    )
    label_separator: str = Field("|", min_length=1, description="Between the labels of a cell.")
    validation: Fraction | str = Field(0.15, description="A share of the rows, or a table.")
    test: Fraction | str = Field(0.15, description="A share of the rows, or a table.")
    skip_bad_rows: bool = Field(False, description="Go on without rows that can't be used.")
    allow_outside: bool = Field(False, description="Allow pictures outside the table's folder.")

    image_size: int = Field(64, ge=8, le=1024, description="Picture height and width, pixels.")
    text_length: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Words read of a text; by default what 99 % need, up to 32.",
    )
    vocabulary_size: int = Field(2000, ge=3, le=1_000_000, description="Most words kept.")

    teacher: Literal["fusion", "document"] = Field(
        "fusion",
        description="The large model: encoders and a fusion, or the one of the written method.",
    )
    fusion: Literal[
        "concatenation",
        "weighted_sum",
        "weighted_sum_by_example",
        "attention",
        "gated",
        "low_rank_tensor",
        "film",
        "cross_attention",
    ] = Field("concatenation", description="How the modalities are merged.")
    student_modalities: list[Literal["image", "text"]] | None = Field(
        None, description="What the students read; by default all that the data has."
    )
    student_image_size: int | None = Field(
        None, ge=8, le=1024, description="The students' pictures, if smaller than the teacher's."
    )
    student_text_length: int | None = Field(
        None, ge=1, le=1024, description="Words that the students read, if not as many."
    )
    student_vocabulary_size: int | None = Field(
        None, ge=3, le=1_000_000, description="Most words that the students know, if not as many."
    )
    modality_dropout: Rate | dict[Literal["image", "text"], Rate] = Field(
        0.1,
        description="How often a student is trained without a modality, for all or by name.",
    )
    teacher_modality_dropout: Rate | dict[Literal["image", "text"], Rate] = Field(
        0.1, description="The same for the teacher."
    )
    experts: bool = Field(
        False, description="Teach also by a teacher of each modality that the student reads."
    )
    embedding_dim: int = Field(
        64, ge=1, le=4096, description="Of retrieval, numbers that stand for a picture or a text."
    )
    # No recipe stands out on validation (studies/recipes). This one asks for the order of the
    # teacher's probabilities and leaves the student its own certainty.
    soft_target_loss: Literal[
        "auto", "divergence", "standardized", "decoupled", "dist", "sigmoid", "squared", "affinity"
    ] = Field(
        "auto",
        description="What the student imitates: of classes the teacher's probabilities, those of "
        "standardised logits, label and other classes apart, or their correlation (dist, the "
        "default); of several labels sigmoid; of numbers squared; of pairs affinity.",
    )
    temperature: float | None = Field(
        None, gt=0, le=1000, description="Softening of the teacher; by default 4, of pairs 1."
    )
    hard_label_weight: Weight = Field(1.0, description="Weight of the labels.")
    soft_target_weight: Weight | None = Field(
        None, description="Weight of the teacher's soft targets; by default 0.2, of pairs 1."
    )
    modality_hint_weight: Weight = Field(
        0.0, description="Weight of each encoder's features imitating the teacher's encoder."
    )
    relation_weight: Weight = Field(
        0.0, description="Weight of the distances between a batch's fused features."
    )
    on_wrong_teacher: Literal["keep", "skip", "correct"] = Field(
        "keep", description="What becomes of training examples that the teacher gets wrong."
    )

    epochs: int = Field(32, ge=1, description="Passes over the training rows, for each model.")
    batch_size: int = Field(32, ge=1, description="Examples in a training step.")
    learning_rate: float = Field(2e-3, gt=0, lt=10, description="The teacher's highest.")
    student_learning_rate: float = Field(4e-3, gt=0, lt=10, description="The students' highest.")
    weight_decay: Weight = Field(1e-3, description="Decoupled weight decay.")
    augment: bool = Field(True, description="Change pictures and texts at random in training.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of everything that is random.")
    robustness: bool = Field(
        True, description="Measure the models with inputs absent or damaged too."
    )

    text_input: Literal["ids", "bytes"] = Field(
        "ids", description="What TFLite files take as text: token ids, or UTF-8 bytes."
    )
    max_accuracy_loss: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Accuracy that the smallest file may lose; 0.005 is half a point.",
    )
    author: str | None = Field(None, description="Who made the model; kept in exported files.")
    licence: str | None = Field(None, description="The model's licence; kept in exported files.")

    @field_validator("validation", "test", mode="before")
    @classmethod
    def _share_or_table(cls, value):
        """A flag gives a share as text."""
        try:
            return float(value)
        except (TypeError, ValueError):
            return value

    def model_post_init(self, _context) -> None:
        """Checks what concerns several values."""
        taught = ("soft_target_weight", "modality_hint_weight", "relation_weight")
        if all(getattr(self, name) == 0 for name in ("hard_label_weight", *taught)):
            names = ", ".join(f"`{name}`" for name in ("hard_label_weight", *taught))
            raise ValueError(f"{names}: one must be above 0.")
        if self.image is None and self.text is None:
            raise ValueError("`image`, `text`: at least one column is needed.")
        if problems := [*self._student_problems(), *self._document_problems()]:
            raise ValueError("\n".join(problems))

    @property
    def modalities(self) -> list[str]:
        """The modalities that the data have."""
        return [name for name in ("image", "text") if getattr(self, name) is not None]

    @property
    def modalities_of_students(self) -> list[str]:
        """The modalities that the students read."""
        return self.modalities if self.student_modalities is None else self.student_modalities

    def _student_problems(self) -> list[str]:
        """What the student can't be given, and what would have no effect."""
        there, read, problems = self.modalities, self.modalities_of_students, []
        if not read or not set(read) <= set(there) or len(set(read)) < len(read):
            problems.append(
                f"`student_modalities`: some of {there}, which the data have, each once. Received: "
                f"{read}."
            )
        rates = self.modality_dropout if isinstance(self.modality_dropout, dict) else {}
        problems += [
            f"`modality_dropout`: rates of what the student reads, {read}. Received: one of {name}."
            for name in rates
            if name not in read
        ]
        if self.student_image_size is not None and self.student_image_size > self.image_size:
            problems.append(
                f"`student_image_size`: at most `image_size`, {self.image_size}. Received: "
                f"{self.student_image_size}. Set image_size to the larger one."
            )
        needed = {
            "student_image_size": "image",
            "student_text_length": "text",
            "student_vocabulary_size": "text",
        }
        problems += [
            f"`{name}`: nothing, because the student reads no {modality}. Received: "
            f"{getattr(self, name)}. Leave it out."
            for name, modality in needed.items()
            if getattr(self, name) is not None and modality not in read
        ]
        if self.experts and len(there) == 1:
            problems.append(
                f"`experts`: false, because the data have {there[0]} alone and the teacher is its "
                "expert. Received: true."
            )
        return problems

    def _document_problems(self) -> list[str]:
        sizes = {name: getattr(self, name) for name in DOCUMENT_SIZES}
        fits = sizes == DOCUMENT_SIZES and self.image is not None and self.text is not None
        if self.teacher != "document" or fits:
            return []
        wanted = ", ".join(f"{name}={size}" for name, size in DOCUMENT_SIZES.items())
        return [
            f"`teacher`: 'document' reads pictures and texts with {wanted}. Received: {sizes}, "
            f"image={self.image!r}, text={self.text!r}."
        ]

    @field_validator("modality_dropout", "teacher_modality_dropout", mode="before")
    @classmethod
    def _rates(cls, value):
        """Both forms are checked here, since a union would complain of each."""
        rates = value.values() if isinstance(value, dict) else [value]
        names = set(value) if isinstance(value, dict) else set()
        numbers = (type(rate) in (int, float) and 0 <= rate <= 1 for rate in rates)
        if not names <= {"image", "text"} or not all(numbers):
            raise ValueError(
                "a number from 0 (never) to 1, for all or by name, such as {image: 0.1, text: 0.3}"
            )
        return value

    @field_validator("image", "text", mode="before")
    @classmethod
    def _none_is_no_column(cls, value):
        """A flag can't give null."""
        return None if value == "none" else value

    def to_yaml(self) -> str:
        """Writes all values, defaults included, as YAML."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


def make_config(values: dict, path: Path | None = None) -> RunConfig:
    """Makes a config from a YAML file and from values that take precedence over it.

    Args:
        values: Values by name, as given by flags.
        path: A YAML file with some of the keys of `RunConfig`.

    Returns:
        The checked config.

    Raises:
        ValueError: If the file can't be read as YAML or values are wrong; all are listed.
    """
    settings = {}
    if path is not None:
        try:
            settings = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"`--config`: a YAML file. Received: {path} ({error}).") from None
        if not isinstance(settings, dict):
            raise ValueError(
                f"`--config`: a YAML file of `key: value` lines. Received: {path}, which holds a "
                f"{type(settings).__name__}."
            )
    try:
        return RunConfig(**{**settings, **values})
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        known = ", ".join(RunConfig.model_fields)
        raise ValueError(
            "The settings are not usable:\n" + "\n".join(lines) + f"\nSettings are: {known}."
        ) from None


def parse_settings(pairs: list[str]) -> dict:
    """Reads `name=value` pairs, values as in YAML.

    Raises:
        ValueError: If a pair has no `=`.
    """
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ValueError(f"`--set`: NAME=VALUE, for example batch_size=64. Received: {wrong}.")
    settings = {}
    for name, _, value in (pair.partition("=") for pair in pairs):
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(
                f"`--set`: NAME=VALUE with a value as in YAML. Received: {name}={value}. Put "
                "quotation marks around the value."
            ) from None
    return settings


def _explain(problem) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # of several settings; it says itself what came
        return "\n".join(f"- {line}" for line in message.splitlines())
    return f"- `{problem['loc'][0]}`: {message}. Received: {problem['input']!r}."
