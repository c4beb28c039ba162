"""RunConfig: everything that a run can be told, from flags or a YAML file, checked at once."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]

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
    fusion: Literal["concatenation", "weighted_sum", "attention"] = Field(
        "concatenation", description="How the modalities are merged."
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
    temperature: float = Field(4.0, gt=0, le=1000, description="Softening of the teacher.")
    hard_label_weight: Weight = Field(1.0, description="Weight of the labels.")
    soft_target_weight: Weight = Field(0.2, description="Weight of the teacher's soft targets.")
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
        if not any(getattr(self, name) for name in ("hard_label_weight", *taught)):
            names = ", ".join(f"`{name}`" for name in ("hard_label_weight", *taught))
            raise ValueError(f"{names}: one must be above 0.")
        if self.image is None and self.text is None:
            raise ValueError("`image`, `text`: at least one column is needed.")
        sizes = {name: getattr(self, name) for name in DOCUMENT_SIZES}
        fits = sizes == DOCUMENT_SIZES and self.image is not None and self.text is not None
        if self.teacher == "document" and not fits:
            wanted = ", ".join(f"{name}={size}" for name, size in DOCUMENT_SIZES.items())
            raise ValueError(
                f"`teacher`: 'document' reads pictures and texts with {wanted}. Received: {sizes}, "
                f"image={self.image!r}, text={self.text!r}."
            )

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
    place = str(problem["loc"][0]) if problem["loc"] else "settings"
    return f"- `{place}`: {problem['msg']}. Received: {problem['input']!r}."
