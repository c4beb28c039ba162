"""RunConfig: all that a run can be told, in groups, by flags or a YAML file, checked at once."""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from mmkd_tf.backbones import find_backbone
from mmkd_tf.backbones.backbone import DEFAULTS
from mmkd_tf.modalities import KINDS, input_options, unfit_input_name
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.settings.groups import (
    AUTO,
    CallbackSettings,
    DataSettings,
    DistillationSettings,
    ExportSettings,
    StudentSettings,
    TeacherSettings,
    TrainingSettings,
)
from mmkd_tf.settings.names import SHORT_FORM, close_group, close_setting, flat, layered, read_yaml
from mmkd_tf.settings.values import Settings
from mmkd_tf.settings.words import commented_yaml
from mmkd_tf.tasks.task import Task

# What the written method's teacher is made for; see `mmkd_tf.models.builder.baseline_teacher`.
BASELINE_INPUTS = {"image": {"size": 224}, "text": {"length": 100, "vocabulary_size": 10_000}}


# Weights of what a teacher gives beside soft targets.
HINTS = ("modality_hint_weight", "relation_weight")
# By what the student must read, the ways of making rows without labels that need it.
_MADE_OF = {
    "words": ("word_rows", "word_dropout_rows", "neighbour_rows"),
    "pictures": ("mixup_rows",),
}

# By pydantic's names of problems, what was expected.
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "list": "a list",
    "dict": "values by name",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


class RunConfig(Settings):
    """The settings of `mmkd-tf run`; each group is also a key of the YAML file.

    `inputs` says by name what an example has, each with its `kind`, `column` and the options of
    its kind; see `mmkd_tf.modalities`. Values are checked when the object is made; unknown keys are
    refused.
    """

    data: DataSettings = DataSettings()
    inputs: dict[str, SerializeAsAny[InputOptions]]
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    distillation: DistillationSettings = DistillationSettings()
    training: TrainingSettings = TrainingSettings()
    export: ExportSettings = ExportSettings()
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of everything that is random.")
    robustness: bool = Field(
        True, description="Measure the models with inputs absent or damaged too."
    )
    fast: bool = Field(
        False,
        description="A first look: what else is not given has values for the first verdict in a "
        "minute or so.",
    )
    tensorboard: bool = Field(
        False, description="Write figures by epoch and some examples for TensorBoard."
    )
    callbacks: list[CallbackSettings] = Field(
        [],
        description="Keras callbacks of all trainings, each with its dotted name and arguments, "
        "such as [{name: keras.callbacks.CSVLogger, arguments: {filename: '{folder}/{model}.csv'}}]"
        ".",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_inputs(cls, values):
        return {"inputs": {name: {"kind": name} for name in SHORT_FORM}, **values}

    @field_validator("inputs", mode="before")
    @classmethod
    def _options_of_inputs(cls, value):
        if not isinstance(value, Mapping) or not value:
            raise ValueError("at least one, by name, such as {photo: {kind: image}}")
        made, problems = {}, []
        for name, options in value.items():
            if reason := unfit_input_name(name):
                problems.append(f"`inputs`: {reason}. Received: {str(name)[:80]!r}.")
                continue
            try:
                chosen = input_options(options)
                made[name] = chosen.model_copy(update={"column": chosen.column or name})
            except ValidationError as error:
                problems += _problems_of_options(name, options["kind"], error)
            except (ValueError, TypeError) as error:
                problems.append(f"`inputs.{name}`: " + " ".join(str(error).splitlines()))
        if problems:
            raise ValueError("\n".join(problems))
        return made

    @model_validator(mode="after")
    def _fits_together(self):
        """Checks what concerns several groups."""
        if problems := [
            *self._backbone_problems(),
            *self._finetune_problems(),
            *self._student_problems(),
            *self._baseline_problems(),
        ]:
            raise ValueError("\n".join(problems))
        return self

    def for_task(self, task: Task) -> "RunConfig":
        """Fills in what the task decides; refuses settings that would have no effect with it."""
        default, problems, distillation = RunConfig.model_validate({}), [], self.distillation
        try:
            distillation = distillation.for_task(task)
        except ValueError as error:
            problems.append(str(error))
        for name, reason in task.ignored_settings.items():
            given, usual = (reduce(getattr, name.split("."), each) for each in (self, default))
            if given != usual:
                problems.append(f"`{name}`: none for {task.name}, {reason}. Received: {given}.")
        if self.training.class_weight != "none" and not task.has_one_class:
            problems.append(
                f"`training.class_weight`: none for {task.name}, whose examples have no one class. "
                f"Received: {self.training.class_weight}."
            )
        if task.is_pairwise and len(self.inputs) != 2:
            problems.append(
                f"`inputs`: two for {task.name}, which finds one by the other. Received: "
                f"{', '.join(self.inputs)}."
            )
        if problems:
            raise ValueError("\n".join([*problems, "Leave them out, or name another --task."]))
        return self.model_copy(update={"distillation": distillation})

    @property
    def backbones(self) -> dict[str, list[str]]:
        """By input, the pretrained encoders that teacher and students begin with."""
        encoders = self.teacher.encoders
        if isinstance(encoders, dict):
            return {name: list(names) for name, names in encoders.items()}
        usual = {name: DEFAULTS.get(options.kind) for name, options in self.inputs.items()}
        return {name: [backbone] for name, backbone in usual.items() if backbone}

    @property
    def teacher_is_pretrained(self) -> bool:
        """Whether the teacher reads what frozen encoders say; not before `auto` is decided."""
        return self.teacher.encoders not in ("scratch", AUTO) and self._may_be_pretrained

    @property
    def teacher_is_cross_fitted(self) -> bool:
        """Whether the teacher is several heads on what frozen encoders say.

        Where an input has no such encoder and one of its own that is not small, the teacher is one
        model that reads features of some inputs and trains on the others, with views.
        """
        if not self.teacher_is_pretrained or self.teacher_reads_both:
            return False
        others = (o for name, o in self.inputs.items() if name not in self.backbones)
        return all(KINDS[options.kind].in_heads for options in others)

    @property
    def teacher_reads_both(self) -> bool:
        """Whether a pretrained teacher also trains encoders of what frozen ones read."""
        return self.teacher.encoders == "both"

    @property
    def teacher_candidates(self) -> list[str]:
        """The `teacher.encoders` among which a run has to choose; none where they are given."""
        if self.teacher.encoders != AUTO:
            return []
        return ["pretrained", "both", "scratch"] if self._may_be_pretrained else ["scratch"]

    def with_teacher(self, encoders: str) -> "RunConfig":
        """The same settings with other `teacher.encoders`."""
        teacher = self.teacher.model_copy(update={"encoders": encoders})
        return self.model_copy(update={"teacher": teacher})

    @property
    def _may_be_pretrained(self) -> bool:
        return self.teacher.architecture != "baseline" and bool(self.backbones)

    @property
    def student_inputs(self) -> list[str]:
        """Names of the inputs that the students read."""
        return list(self.inputs) if self.student.inputs is None else self.student.inputs

    def _backbone_problems(self) -> list[str]:
        problems = []
        for name, names in self.backbones.items():
            if name not in self.inputs or not names:
                problems.append(
                    f"`teacher.encoders`: for some of {list(self.inputs)}, one backbone or more. "
                    f"Received: {name}: {names}."
                )
                continue
            for backbone in names:
                try:
                    kind = find_backbone(backbone).kind
                except (ValueError, ImportError) as error:
                    problems.append(f"`teacher.encoders.{name}`: {error}")
                    continue
                if kind != self.inputs[name].kind:
                    problems.append(
                        f"`teacher.encoders.{name}`: backbones of kind {self.inputs[name].kind}. "
                        f"Received: {backbone}, of kind {kind}."
                    )
        if self.teacher_is_pretrained or "pretrained" in self.teacher_candidates:
            problems += [
                f"`distillation.{weight}`: 0 for a pretrained teacher, whose features do not learn "
                f"the task. Received: {value}. Set `teacher.encoders` to scratch."
                for weight in HINTS
                if (value := getattr(self.distillation, weight))
            ]
        return problems

    def _finetune_problems(self) -> list[str]:
        finetune, encoders = self.teacher.finetune, self.teacher.encoders
        if finetune == "none" or self.teacher_is_cross_fitted:
            return []
        return [
            "`teacher.finetune`: none unless the teacher reads pretrained encoders alone. "
            f"Received: {finetune}, with {self.teacher.architecture} and encoders {encoders}. "
            "Leave it out, or set `teacher.encoders` to pretrained."
        ]

    def _student_problems(self) -> list[str]:
        """What the students can't be given, and what would have no effect."""
        there, read, problems = list(self.inputs), self.student_inputs, []
        if not read or not set(read) <= set(there) or len(set(read)) < len(read):
            problems.append(
                f"`student.inputs`: some of {there}, which the data have, each once. Received: "
                f"{read}."
            )
        for side, names in (("teacher", there), ("student", read)):
            rates = getattr(self, side).modality_dropout
            problems += [
                f"`{side}.modality_dropout`: rates of what the {side} reads, {names}. Received: "
                f"one of {name}."
                for name in (rates if isinstance(rates, dict) else {})
                if name not in names
            ]
        for name, options in self.inputs.items():
            problems += [
                f"`inputs.{name}.student.{field}`: nothing, because the student reads no {name}. "
                f"Received: {value}. Leave it out."
                for field, value in options.student_changes.items()
                if name not in read
            ]
        if self.teacher.experts and len(there) == 1:
            problems.append(
                f"`teacher.experts`: false, because the data have {there[0]} alone and the teacher "
                "is its expert. Received: true."
            )
        problems += self._transfer_problems()
        if not self.training.augment and self.training.augment_strength != 1:
            problems.append(
                "`training.augment_strength`: 1 without `training.augment`. Received: "
                f"{self.training.augment_strength}."
            )
        views = self.distillation.views
        if not self.training.augment and views not in (None, 1):
            problems.append(
                "`distillation.views`: 1 without `training.augment`, since all views are the same "
                f"then. Received: {views}."
            )
        return problems

    def _transfer_problems(self) -> list[str]:
        """Which rows without labels there can't be, and what would have no effect."""
        made, problems = self.distillation.generated, []
        given = {name: getattr(self.data, name) for name in ("unlabelled", "unlabelled_rows")}
        given = {name: value for name, value in given.items() if value}
        hints = {name: w for name in HINTS if (w := getattr(self.distillation, name))}
        if given and (hints or self.teacher.experts):
            received = {**hints, **({"experts": True} if self.teacher.experts else {})}
            problems += [
                f"`data.{name}`: nothing beside hints and experts, since the one teacher answers "
                f"with soft targets alone. Received: {value}, and {received}."
                for name, value in given.items()
            ]
        received = ", ".join(f"{name}={rate}" for name, rate in made.items())
        names = f"`distillation.{'`, `distillation.'.join(made)}`"
        if made and (not self.teacher_is_pretrained or self.teacher.experts):
            problems.append(
                f"{names}: 0 unless the one teacher is pretrained, which answers what is made at "
                f"little cost. Received: {received}."
            )
        if made and not self.distillation.transfer_share:
            problems.append(
                f"{names}: 0 where `distillation.transfer_share` is 0, since the student would see "
                f"none of the rows. Received: {received}."
            )
        problems += [
            f"`distillation.{name}`: 0 where the student reads no {of} that the teacher has an "
            f"encoder for. Received: {made[name]}."
            for of, ways in _MADE_OF.items()
            for name in ways
            if name in made and of not in self._readable
        ]
        if "recombined_rows" in made and len(self.student_inputs) < 2:
            problems.append(
                "`distillation.recombined_rows`: 0 where the student reads one input alone. "
                f"Received: {made['recombined_rows']}."
            )
        return problems

    @property
    def _readable(self) -> set[str]:
        """Of `_MADE_OF`, what the student reads and the teacher has an encoder for."""
        read = [name for name in self.student_inputs if name in self.inputs]
        kinds = [KINDS[self.inputs[name].kind] for name in read if name in self.backbones]
        return {"words" if kind.takes_utf8 else "pictures" for kind in kinds}

    def _baseline_problems(self) -> list[str]:
        sizes = {
            name: {field: getattr(options, field, None) for field in BASELINE_INPUTS.get(name, ())}
            for name, options in self.inputs.items()
        }
        if self.teacher.architecture != "baseline" or sizes == BASELINE_INPUTS:
            return []
        return [
            f"`teacher.architecture`: 'baseline' reads the inputs {BASELINE_INPUTS}. Received: "
            f"{sizes}."
        ]

    def to_yaml(self) -> str:
        """Writes all values, defaults included, as YAML with comments on their meaning."""
        return commented_yaml(self)


def make_config(values: Mapping[str, Any], path: Path | None = None) -> RunConfig:
    """Makes a checked config from a YAML file and from values that take precedence over it.

    Args:
        values: Values by name as in `full_names`, such as flags give them.
        path: A YAML file of settings.

    Raises:
        ValueError: If the file can't be read as YAML or values are wrong; all are listed.
    """
    try:
        return RunConfig(**layered(read_yaml(path), values))
    except ValidationError as error:
        raise ValueError(
            "The settings are not usable:\n"
            + "\n".join(f"- {line}" for line in problems_of(error))
            + "\nAll settings with their meaning: mmkd-tf settings."
        ) from None


def problems_of(error: ValidationError) -> list[str]:
    """Says what is wrong with settings, a line for each, which begins with its name."""
    lines: dict[str, str] = {}
    for problem in error.errors():  # a union complains of each of its members
        name, value = ".".join(map(str, problem["loc"][:2])), problem["input"]
        group = problem["type"] == "extra_forbidden" and isinstance(value, Mapping)
        if group and value and close_group(name):
            for full, each in flat({name: value}):
                lines.setdefault(full, _explain({**problem, "input": each}, full))
        else:
            lines.setdefault(name, _explain(problem, name))
    return [line for text in lines.values() for line in text.splitlines()]


def _problems_of_options(name: str, kind: str, error: ValidationError) -> list[str]:
    """The same of the options of one input, whose kind is known."""
    fields = dict(KINDS[kind].Options.model_fields)
    student = fields["student"].annotation
    if isinstance(student, type) and issubclass(student, BaseModel):
        fields |= {f"student.{field}": each for field, each in student.model_fields.items()}

    def close(option: str) -> str | None:
        near = get_close_matches(option, fields, n=1)
        return f"inputs.{name}.{near[0]}" if near else None

    explained = (_explain(p, ".".join(map(str, p["loc"])), close) for p in error.errors())
    return [f"`inputs.{name}.{line[1:]}" for line in explained]


def _in_plain_words(problem: Mapping, message: str) -> str:
    """What was expected, without the words of a parser."""
    kind, bounds = problem["type"], problem.get("ctx", {})
    what = kind.partition("_")[0]
    if kind == "int_from_float" or kind in {f"{what}_type", f"{what}_parsing"}:
        return _EXPECTED.get(what, message.rstrip("."))
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{word} {int(bounds[key]) if bounds[key] == int(bounds[key]) else bounds[key]:,}"
    return message.rstrip(".")


def _explain(problem: Mapping, name: str, close: Callable = close_setting) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if message.startswith("`"):  # it says itself what it is about and what came
        return message
    message, near = _in_plain_words(problem, message), None
    if problem["type"] == "extra_forbidden":
        message, near = "there is no such setting", close(name)
    elif problem["type"] == "literal_error":
        choices = re.findall("'([^']+)'", message)
        near = next(iter(get_close_matches(str(problem["input"]), choices, n=1)), None)
    hint = f" Did you mean {near}?" if near else ""
    return f"`{name}`: {message}. Received: {problem['input']!r}.{hint}"
