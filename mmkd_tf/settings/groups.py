"""Settings: the groups that a run is told, each handed alone to what needs it.

What tasks there are is asked where a value names one: to import them takes TensorFlow's time.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from mmkd_tf.settings.values import Settings

if TYPE_CHECKING:
    from mmkd_tf.tasks.task import Task

AUTO = "auto"


def _rates(value):
    """Both forms are checked here, since a union would complain of each."""
    rates = value.values() if isinstance(value, dict) else [value]
    names = list(value) if isinstance(value, dict) else []
    numbers = (type(rate) in (int, float) and 0 <= rate <= 1 for rate in rates)
    if not all(isinstance(name, str) for name in names) or not all(numbers):
        raise ValueError(
            "a number from 0 (never) to 1, for all or by input, such as {image: 0.1, text: 0.3}"
        )
    return value


def _share_or_table(value):
    """A flag gives a share as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[Fraction | str, BeforeValidator(_share_or_table)]


def _weight(value: float) -> float:
    if value and not 1e-9 <= value <= 1e9:
        raise ValueError("0, or 1e-9 to 1e9: float32 turns others into 0 or infinity")
    return value


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_weight)]
Rate = Annotated[float, Field(ge=0, le=100)]
# None is in the files of runs that were made when it was the default.
Made = Annotated[Rate, BeforeValidator(lambda value: 0.0 if value is None else value)]
LearningRate = Annotated[float, Field(ge=1e-9, lt=10)]
Rates = Annotated[float | dict[str, float], BeforeValidator(_rates)]
FusionName = Literal[
    "concatenation",
    "weighted_sum",
    "weighted_sum_by_example",
    "attention",
    "gated",
    "low_rank_tensor",
    "film",
    "cross_attention",
]


# What a first look takes in place of the defaults: less of what takes long.
FAST = {
    "teacher.folds": 3,
    "training.epochs": 4,
    # One view of the pictures, so that the blocks that are held run over them once.
    "training.augment": False,
    "robustness": False,
    "export.quantize": "dynamic",
    "export.saved_model": False,
}

QuantizeLevel = Literal["auto", "float32", "float16", "dynamic", "dynamic4", "mixed", "mixed4"]


class DataSettings(Settings):
    """Where the examples come from and how they are divided."""

    source: str = Field(
        "emoji",
        description="A CSV, Parquet or NumPy (.npz) table, or a TensorFlow Datasets name.",
    )
    label: str | list[str] = Field("label", description="Column of labels, or of targets.")
    task: str = Field(AUTO, description="What is learned; by default the label column decides.")
    label_separator: str = Field("|", min_length=1, description="Between the labels of a cell.")
    validation: Share = Field(0.15, description="A share of the rows, or a table.")
    test: Share = Field(0.15, description="A share of the rows, or a table.")
    unlabelled: str | None = Field(
        None,
        description="Rows without labels, of which the student learns what the teacher says: a "
        "table, a folder of pictures, or a text file with one text a line.",
    )
    unlabelled_rows: bool = Field(
        False, description="Take rows of the table with an empty label for such rows too."
    )
    skip_bad_rows: bool = Field(False, description="Go on without rows that can't be used.")
    allow_outside: bool = Field(False, description="Allow files outside the table's folder.")

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        from mmkd_tf.tasks import TASKS

        if value not in (AUTO, *TASKS):
            raise ValueError(f"one of {', '.join([AUTO, *TASKS])}")
        return value


class TeacherSettings(Settings):
    """The large models."""

    architecture: Literal["fusion", "baseline"] = Field(
        "fusion", description="Encoders and a fusion, or the teacher of the written method."
    )
    encoders: Literal["pretrained", "scratch", "both", "auto"] | dict[str, list[str]] = Field(
        "pretrained",
        description="Frozen encoders that are pretrained (of pictures efficientnet_lite0, of texts "
        "use_multilingual), or ones trained from scratch, or both side by side; auto trains a "
        "teacher of each and takes the best on validation. Or backbones by input, such as "
        "{photo: [efficientnet_lite1], title: [use_multilingual, minilm]}.",
    )
    folds: int = Field(
        5,
        ge=1,
        le=50,
        description="Heads on pretrained encoders; each answers the training rows that it has not "
        "seen, one alone those that it has.",
    )
    finetune: Literal["none", "top", "all"] = Field(
        "none",
        description="What of pretrained encoders is trained on first, with a head: their last "
        "blocks or all; kept where the validation loss falls by it.",
    )
    fusion: FusionName = Field("concatenation", description="How the inputs are merged.")
    embedding_dim: int = Field(
        64, ge=1, le=4096, description="Of pairs, numbers that stand for one input."
    )
    modality_dropout: Rates = Field(
        0.1, description="How often it is trained without an input, for all or by name."
    )
    experts: bool = Field(
        False, description="Teach also by a teacher of each input that the student reads."
    )
    learning_rate: LearningRate = Field(2e-3, description="Its highest.")


class StudentSettings(Settings):
    """The small models: the student, and the same alone."""

    inputs: list[str] | None = Field(
        None, description="What the students read; by default all that the data has."
    )
    inherit: Literal["none", "tiny", "small", "medium"] = Field(
        "small",
        description="How much they take over from pretrained encoders; tiny, small and medium "
        "are for files of 80, 300 and 1,024 KiB.",
    )
    compare_scratch: bool = Field(
        False, description="Train the student that inherits nothing too, for comparison."
    )
    fusion: FusionName | None = Field(
        None, description="How the inputs are merged; by default as in the teacher."
    )
    modality_dropout: Rates = Field(
        0.1, description="How often they are trained without an input, for all or by name."
    )
    learning_rate: LearningRate = Field(4e-3, description="Their highest.")


# What rows without labels are made by, as `mmkd_tf.distill.generated_rows` has it.
GENERATORS = (
    "word_rows",
    "recombined_rows",
    "word_dropout_rows",
    "neighbour_rows",
    "mixup_rows",
)


class DistillationSettings(Settings):
    """What the student learns from its teacher, beside the labels. All but the last weigh terms.

    The default is Hinton's form: with a teacher that knows more than its student it is best on
    validation; with one that does not no form stands out (studies/recipes).
    """

    soft_target_loss: str = Field(
        AUTO,
        description="What the student imitates: of classes the teacher's probabilities "
        "(divergence, the default), those of standardised logits, label and other classes apart "
        "(decoupled), or their correlation (dist); of several labels sigmoid; of numbers squared; "
        "of pairs affinity.",
    )
    temperature: float | None = Field(
        None,
        ge=1e-3,
        le=1000,
        description="Softening of the teacher; by default 2 of one class, of pairs 1, else 4.",
    )
    hard_label_weight: Weight | None = Field(
        None, description="Weight of the labels; by default 1."
    )
    soft_target_weight: Weight | None = Field(
        None,
        description="Weight of the teacher's soft targets; by default 0.5 of one class, of pairs "
        "1, else 0.2.",
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
    transfer_share: float = Field(
        0.5,
        ge=0,
        le=4,
        description="Rows without labels that a batch gets besides, as a share of its size; "
        "without effect where there are none.",
    )
    word_rows: Made = Field(
        0.0, description="Rows without labels to make for each training row: single words."
    )
    recombined_rows: Made = Field(
        0.0, description="The same of inputs of different training rows of one class."
    )
    word_dropout_rows: Rate = Field(0.0, description="The same of texts with words left out.")
    neighbour_rows: Rate = Field(
        0.0, description="The same of texts with words replaced by such as the teacher holds near."
    )
    mixup_rows: Rate = Field(0.0, description="The same of means of two pictures.")
    views: int | None = Field(
        None,
        ge=1,
        description="Differently augmented views on which the teacher is asked, shown in turn; by "
        "default one an epoch, as many as a bound on disk allows.",
    )

    @property
    def generated(self) -> dict[str, float]:
        """By name of a way that is asked for, how many rows it makes for each training row."""
        return {name: rate for name in GENERATORS if (rate := getattr(self, name))}

    def for_task(self, task: "Task") -> "DistillationSettings":
        """Fills in the task's defaults where something is open; a ValueError if the loss is none.

        Of its losses the first is the default.
        """
        if self.generated and not task.has_one_class:
            raise ValueError(
                f"`distillation.{'`, `distillation.'.join(self.generated)}`: 0 for {task.name}, "
                f"whose examples have no one class. Received: {self.generated}."
            )
        defaults, known = task.soft_targets(), list(task.soft_target_losses)
        if self.soft_target_loss not in (AUTO, *known):
            raise ValueError(
                f"`distillation.soft_target_loss`: auto or {' or '.join(known)} for {task.name}. "
                f"Received: {self.soft_target_loss}."
            )
        filled = {
            "soft_target_loss": known[0],
            "temperature": defaults.temperature,
            "soft_target_weight": defaults.weight,
            "hard_label_weight": defaults.hard_label_weight,
        }
        open_ones = {k: v for k, v in filled.items() if getattr(self, k) in (None, AUTO)}
        return self.model_copy(update=open_ones)

    @field_validator("soft_target_loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        from mmkd_tf.tasks import TASKS

        losses = (name for task in TASKS.values() for name in task.soft_target_losses)
        known = [AUTO, *dict.fromkeys(losses)]
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _something_to_learn(self):
        names = [name for name in type(self).model_fields if name.endswith("_weight")]
        if all(getattr(self, name) == 0 for name in names):
            listed = ", ".join(f"`distillation.{name}`" for name in names)
            raise ValueError(f"{listed}: one must be above 0.")
        return self


class TrainingSettings(Settings):
    """How each model is trained."""

    epochs: int = Field(32, ge=1, description="Passes over the training rows, for each model.")
    batch_size: int = Field(32, ge=1, description="Examples in a training step.")
    weight_decay: Weight = Field(1e-3, description="Decoupled weight decay.")
    augment: bool = Field(True, description="Change inputs at random in training.")
    augment_strength: float = Field(
        1.0,
        ge=1e-3,
        le=3,
        description="How far inputs are changed: factor of how far pictures are turned, scaled and "
        "shifted, and of how many words are left out.",
    )
    restore: Literal["last", "best"] = Field(
        "last",
        description="Which weights a model ends with: those of its last epoch, or of that with the "
        "lowest loss on validation. Heads on pretrained encoders have their own way.",
    )
    early_stopping: int | None = Field(
        None,
        ge=1,
        description="End a training after so many epochs without a lower loss on validation; by "
        "default all get the same number of updates, and the learning rate falls to 0 in them.",
    )
    class_weight: Literal["none", "balanced"] | dict[str, Weight] = Field(
        "none",
        description="How much the labels of a class count: all alike; balanced, rare ones more, so "
        "that all classes count the same; or factors by class, 1 where none is given.",
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        "float32",
        description="What is computed in while training; weights stay float32, and so do files. "
        "The mixed ones are for GPUs: processors are slower with them.",
    )
    strategy: Literal["none", "mirrored", "multiworker", "auto"] = Field(
        "none",
        description="Devices that train a model together: one; mirrored, all GPUs of the machine; "
        "auto, mirrored where there are two GPUs or more. multiworker is not supported.",
    )


class CallbackSettings(Settings):
    """A Keras callback of all trainings, by name."""

    name: str = Field(description="Its dotted name, such as keras.callbacks.CSVLogger.")
    arguments: dict[str, Any] = Field(
        {}, description="What it is made with; {model} and {folder} in texts are filled in."
    )


class ExportSettings(Settings):
    """How files are made for phones."""

    text_input: Literal["ids", "bytes"] = Field(
        "ids", description="What TFLite files take as text: token ids, or UTF-8 bytes."
    )
    max_accuracy_loss: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Accuracy that the smallest file may lose; 0.005 is half a point.",
    )
    calibrate: bool = Field(
        True,
        description="Divide logits in exported files by the temperature that makes probabilities "
        "as sure as they are right on validation; of classes and labels.",
    )
    quantize: QuantizeLevel = Field(
        "auto",
        description="How numbers are kept in the small file; auto tries all levels and takes the "
        "smallest file that is accurate.",
    )
    saved_model: bool = Field(True, description="Write a SavedModel too, for servers.")
    author: str | None = Field(None, description="Who made the model; kept in exported files.")
    licence: str | None = Field(None, description="The model's licence; kept in exported files.")
