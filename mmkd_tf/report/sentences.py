"""Sentences about the results of a run, the same at the terminal, on the page and on the card."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mmkd_tf.config import make_config
from mmkd_tf.edge.remarks import rough_calibration
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.modality import Modality, student_inputs, teacher_inputs
from mmkd_tf.report.tables import figure
from mmkd_tf.settings.names import SHORT_FORM, flat, full_names
from mmkd_tf.tasks import DEFAULT_TASK, find_task
from mmkd_tf.tasks.task import Task

MODELS = {
    "teacher": "teacher",
    "student_scratch": "student from scratch",
    "student_alone": "student alone",
    "student": "distilled student",
}
# Rows without labels by where they come from.
TRANSFER = {
    "unlabelled": "given without labels",
    "unlabelled_rows": "of the table without labels",
    "word_rows": "single words",
    "recombined_rows": "recombined of training rows",
    "word_dropout_rows": "texts with words left out",
    "neighbour_rows": "texts with words replaced",
    "mixup_rows": "mixed pictures",
}
LEVELS = (
    "The smallest level that is accepted on validation was taken. Sizes are without labels and "
    "vocabulary."
)
LATENCY = "Latency: median, one thread, one example, on the machine of the run, files in turn"
# Below these a warning is due: test examples; above: shares of a class, of unknown words.
_FEW_EXAMPLES, _LARGE_CLASS, _MANY_UNKNOWN = 100, 0.5, 0.1
_NAMED = 5


def task_of(values: Mapping) -> Task:
    """The task that results, or figures of an exported file, are of; older ones do not say."""
    return find_task(values.get("task", DEFAULT_TASK))


def setting(results: Mapping, name: str) -> Any:
    """A setting of a run by its full name, such as `training.epochs`; None if it is not there."""
    return full_names(results.get("config", {})).get(name)


def nothing_seen(interval: Sequence[float] | None) -> bool:
    """Whether no example tells two models apart, where a bootstrap knows nothing of chance."""
    return interval is not None and interval[0] == 0 == interval[1]


def kinds(results: Mapping) -> dict[str, type[Modality] | None]:
    """The kind of each input; None if it is not known here. Older results name inputs by kind."""
    dataset = results.get("dataset") or {}  # none yet in an unfinished run
    said = dataset.get("inputs", {})
    return {
        name: KINDS.get(said.get(name, {}).get("kind", name))
        for name in student_inputs(dataset.get("modalities", {}))
    }


def read_by_student(results: Mapping) -> dict[str, str]:
    """What the student's file reads, in words, by input."""
    read = _student_tensors(results)
    if setting(results, "export.text_input") == "bytes":
        for name, kind in kinds(results).items():
            if name in read and kind is not None and kind.takes_utf8:
                read[name] = f"UTF-8 bytes, of which the file makes {read[name]}"
    return read


def _student_tensors(results: Mapping) -> dict[str, str]:
    names = setting(results, "student.inputs")
    held = student_inputs(results["dataset"]["modalities"])
    return {name: words for name, words in held.items() if names is None or name in names}


def purpose(results: Mapping) -> str:
    """What the student is for, without a full stop."""
    inputs = " and ".join(read_by_student(results))
    return task_of(results).purpose(inputs, len(results["dataset"]["class_names"]))


_ENCODERS = {
    "pretrained": "pretrained encoders",
    "scratch": "encoders trained from scratch",
    "both": "both side by side",
}


def teacher_comparison(results: Mapping) -> str:
    """Says which teacher was chosen among which, and by what; nothing where it was given."""
    found = results.get("teacher_comparison")
    if not found:
        return ""
    headline = task_of(results).words.headline
    by_loss = sorted(found["candidates"].items(), key=lambda item: item[1]["loss"])
    named = ", ".join(
        f"{_ENCODERS[kind]} {of['loss']:.3f} ({headline} {of['score']:.3f})" for kind, of in by_loss
    )
    return (
        f"The teacher with {_ENCODERS[found['chosen']]} was taken, which has the least loss on the "
        f"{found['num_examples']:,} validation examples: {named}."
    )


def finetuning(results: Mapping) -> str:
    """Says what became of the fine-tuning of the teacher's encoders; nothing without any."""
    found = results.get("finetuning")
    if not found:
        return ""
    part = {"top": "last blocks", "all": "weights"}[found["part"]]
    before, after = (
        "no number" if loss is None else f"{loss:.3f}"
        for loss in (found["frozen_loss"], found["tuned_loss"])
    )
    text = f"Training the {part} of the teacher's encoders on with a head"
    losses = f"the validation loss from {before} to {after}"
    if found["kept"]:
        return f"{text} took {losses}, so the teacher reads the tuned encoders."
    return f"{text} would have taken {losses}, so they stay as they were."


def calibration(results: Mapping) -> str:
    """Says what is to make files as sure as they are right, and whether it does; or nothing."""
    found = results.get("calibration")
    if not found:
        return ""
    before, after = found["error_before"], found["error_after"]
    text = (
        f"The files divide logits by {found['temperature']:.2f}, found on the "
        f"{found['num_examples']:,} validation examples, which is to make probabilities as sure as "
        f"they are right; on test the calibration error is {after:.3f}, without it {before:.3f}"
    )
    text += ": there it became worse." if after > before else "."
    return " ".join(filter(None, [text, rough_calibration(found)]))


# Levels with weights of 4 bits, which the last runtimes called TensorFlow Lite refuse.
_FOUR_BITS = ("dynamic4", "mixed4")


def four_bits(exports: Sequence[Mapping]) -> str:
    """Says which files an older runtime refuses, and how to make others; nothing without any."""
    files = [made["file"] for made in exports if made["quantize"] in _FOUR_BITS]
    if not files:
        return ""
    return (
        f"{' and '.join(files)} {'has' if len(files) == 1 else 'have'} 4-bit weights, which "
        "TensorFlow Lite 2.17 on phones (TensorFlowLiteSwift, org.tensorflow:tensorflow-lite) "
        "refuses at the first call; for it make another: mmkd-tf export DIR --output exported "
        "--quantize dynamic"
    )


def can_help(results: Mapping) -> str:
    """Says whether the teacher knows something on validation that the student alone does not."""
    found = results.get("can_help")
    if not found:
        return ""
    task = task_of(results)
    scale, unit, form = (100, " points", "+.1f") if task.has_one_class else (1, "", "+.3f")
    gap, low, high = (f"{scale * value:{form}}" for value in (found["gap"], *found["interval"]))
    text = (
        f"On the {found['num_examples']:,} validation examples the teacher's {task.words.headline} "
        f"is {found['teacher']:.3f}, that of the student alone {found['student_alone']:.3f}: "
        f"{gap}{unit} "
    )
    text += (
        "(no difference seen)" if nothing_seen(found["interval"]) else f"(95 %: {low} to {high})"
    )
    if (first := found["only_teacher_right"]) is not None:
        other = found["only_student_right"]
        text += f"; the teacher gets {first:,} right that the student gets wrong, and {other:,} "
        text += "the other way round"
    if found["can_help"]:
        return f"{text}. So there is something to learn from it."
    return (
        f"{text}. That is no more than chance can make, so the teacher can hardly help. Try "
        f"{' or '.join(_advice(results)) or 'more rows'}."
    )


def _advice(results: Mapping) -> list[str]:
    """What may make a teacher worth listening to, that the run has not tried."""
    encoders, advice = setting(results, "teacher.encoders"), []
    if encoders == "scratch":
        return ["a teacher with pretrained encoders (teacher.encoders=pretrained)"]
    if encoders in ("pretrained", "both"):
        advice.append("other teachers (teacher.encoders=auto)")
    if not setting(results, "data.unlabelled"):
        advice.append("rows without labels (--unlabelled)")
    return advice


def inheritance(results: Mapping) -> str:
    """Says what the student begins with; nothing where it inherits nothing."""
    if not results.get("inherited"):
        return ""
    named = "; ".join(f"{name}: {credit}" for name, credit in results["inherited"].items())
    return f"The student begins with parts of its teacher's pretrained encoders ({named})."


def first_look(results: Mapping) -> str:
    """Says that a run was a first look; empty of a whole one."""
    if not results.get("config", {}).get("fast"):
        return ""
    epochs = setting(results, "training.epochs")
    return (
        f"This was a first look (--fast), with {epochs} epochs of training and less measured: "
        "judge by a run without it."
    )


def unknown_words(results: Mapping) -> str:
    """Says how many words of the test split the student does not know."""
    shares = results["dataset"].get("unknown_words") or {}
    return " ".join(
        f"Of the test split's words of {name} the student does not know {share:.0%}."
        for name, share in shares.items()
    )


def agreement(results: Mapping) -> str:
    """Says how far the student does what its teacher does; nothing if it was not measured."""
    measured = results["student"].get("agreement_with_teacher")
    return "" if measured is None else task_of(results).agreement_sentence(measured)


def taught(results: Mapping) -> str:
    """Says what the models learnt from, and what each side read where it is not the same."""
    truth = task_of(results).words.truth
    names = ("soft_target_loss", "soft_target_weight", "temperature")
    softened = ", ".join(
        f"{name.removeprefix('soft_target_')} {value}"
        for name in names
        if (value := setting(results, f"distillation.{name}")) is not None
    )
    weight = setting(results, "distillation.hard_label_weight")
    text = (
        f"The teacher and the student alone learnt from the {truth}; the distilled student from "
        f"the {truth}{'' if weight is None else f' (weight {weight})'} and from the teacher's soft "
        f"targets{f' ({softened})' if softened else ''}."
    )
    if found := results["teacher"].get("temperatures"):
        text += (
            f" The teacher's logits are divided by {found['single']:.2f} where one head answers, "
            f"by {found['joint']:.2f} where all do, so that it is as sure as it is right."
        )
    own, teachers = _student_tensors(results), teacher_inputs(results["dataset"]["modalities"])
    if own != teachers:
        sides = (
            f"the {side} {', '.join(f'{name} ({words})' for name, words in read.items())}"
            for side, read in (("teacher", teachers), ("students", own))
        )
        text += f" They read: {'; '.join(sides)}."
    return text


def transfer(results: Mapping) -> str:
    """Says from how many rows without labels the student learnt; nothing if there were none."""
    found = results.get("transfer")
    if not found:
        return ""
    parts = ", ".join(f"{n:,} {TRANSFER.get(name, name)}" for name, n in found["rows"].items() if n)
    text = (
        "The distilled student learnt from the teacher's answers to "
        f"{sum(found['rows'].values()):,} rows without labels too ({parts})"
    )
    if found["sure"] is not None:
        text += f"; of {found['sure']:,} of them it was sure (probability 0.8 or more)"
    if left_out := found["repeats_left_out"]:
        text += f"; {left_out:,} that repeat validation or test rows were left out"
    return text + "."


def warnings(results: Mapping) -> list[str]:
    """What in the data makes figures less worth than they look, and what the reading noted."""
    dataset, task = results["dataset"], task_of(results)
    sizes, counts = dataset["sizes"], dataset.get("class_counts") or {}
    found = []
    if sizes["test"] < _FEW_EXAMPLES:
        found.append(f"There are only {sizes['test']:,} test examples: figures of them are rough.")
    if task.counts_outputs and counts:
        lacking = [name for name, count in counts["test"].items() if not count]
        if lacking:
            named = ", ".join(lacking[:_NAMED]) + (", ..." if len(lacking) > _NAMED else "")
            found.append(
                f"No test example has {len(lacking):,} of the {len(counts['test']):,} "
                f"{task.words.outputs} ({named}): how good models are at them is not known."
            )
        largest = max(counts["train"], key=counts["train"].get, default=None)
        share = counts["train"][largest] / max(sizes["train"], 1) if largest is not None else 0
        if task.has_one_class and share > _LARGE_CLASS:
            found.append(f"{share:.0%} of the training examples are of one class, {largest}.")
    for name, share in (dataset.get("unknown_words") or {}).items():
        if share > _MANY_UNKNOWN:
            found.append(f"The student does not know {share:.0%} of the test words of {name}.")
    return [*found, *(dataset.get("notes") or [])]


def command(results: Mapping) -> str:
    """The command that makes the run again, with the settings that are not the defaults."""
    given, usual = full_names(results.get("config", {})), full_names(make_config({}).model_dump())
    source = given.pop("data.source", "")
    changed, usual = dict(flat(given)), dict(flat(usual))
    parts = ["mmkd-tf", "run", *([str(source)] if source else [])]
    for name, value in changed.items():
        if name not in usual or value != usual[name]:
            written = yaml.safe_dump(
                value, default_flow_style=True, allow_unicode=True, width=10**6
            )
            parts += ["--set", f"{name}={written.strip().removesuffix('...').strip()}"]
    for name in SHORT_FORM:  # inputs that there are where nobody says otherwise
        if not any(setting.startswith(f"inputs.{name}.") for setting in changed):
            parts += [f"--{name}", "none"]
    return shlex.join(parts)


def compared_on(exports: Sequence[Mapping]) -> str:
    """How many validation examples exported files were compared on."""
    return " or ".join(f"{count:,}" for count in sorted({made["num_examples"] for made in exports}))


def damaged(results: Mapping) -> str:
    """Says which examples were looked at with inputs absent or damaged, and how many."""
    measured = results["robustness"]
    split, number = measured["split"], measured["num_examples"]
    total = results["dataset"]["sizes"][split]
    text = f"the {number:,} {split} examples"
    if number < total:
        text = f"{number:,} of the {total:,} {split} examples, chosen at random"
    if "teacher" not in measured["clean"]:
        text += " (students alone, since their inputs have other forms than the teacher's)"
    return text


def damage_title(name: str) -> str:
    """What a kind of damage is called."""
    return "JPEG" if name == "jpeg" else name.replace("_", " ")


def means_under_damage(results: Mapping) -> str:
    """The distilled student's mean figure under each kind of damage; empty without any."""
    return ", ".join(
        f"{damage_title(name)} {figure(found['relative']['student'])}"
        for name, found in results["robustness"]["damage"].items()
        if "student" in found["relative"]
    )


def study_task(results: Mapping, dataset: str) -> Task:
    """The task that a dataset of a study is of."""
    values = results["datasets"][dataset]
    return task_of(values if "task" in values else results)
