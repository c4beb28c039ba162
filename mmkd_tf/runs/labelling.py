"""Has the teacher of a run answer rows of shards: each by itself, anywhere and in any order."""

import functools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import Examples
from mmkd_tf.data.pretrained import read_by_teacher
from mmkd_tf.data.rows import cells_of, check_sizes
from mmkd_tf.distill.shard_answers import answers_key, are_answered, write_answers
from mmkd_tf.distill.transfer import ask
from mmkd_tf.files.shards import Shards
from mmkd_tf.files.tables import Table, TableError
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.modality import Modality, in_tensor_form, teacher_inputs
from mmkd_tf.modalities.tabular import Tabular
from mmkd_tf.models.cross_fitted import FOLD
from mmkd_tf.progress import shown_by
from mmkd_tf.runs.data import read_dataset
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.roles import frozen_encoders
from mmkd_tf.tasks import TASKS

TEACHER_FILE = "teacher.keras"
ROWS_AT_ONCE = 512
_ONE_AT_A_TIME = threading.Lock()  # a runner may have several threads in a worker


@dataclass(frozen=True)
class Asked:
    """The teacher that is asked, as workers find it.

    Attributes:
        run: The folder of its run.
        forms: By name, fitted inputs whose tensors it reads.
        key: What `answers_key` gave.
    """

    run: Path
    forms: Mapping[str, Modality] = field(repr=False)
    key: Mapping[str, Any] = field(repr=False)


def teacher_of(run: Path, shards: Path) -> Asked:
    """Finds the teacher of a run, and checks that it can read these shards.

    Args:
        run: The folder of a run, finished or not, or `teacher.keras` in it.
        shards: A finished folder of shards.

    Raises:
        ValueError: If there is no such teacher, it can't be asked, or shards don't fit it.
    """
    run = run.parent if run.name == TEACHER_FILE else run
    if not run.is_dir():
        raise ValueError(
            f"`--teacher`: the folder of a run, or {TEACHER_FILE} in it. Received: {run}, which is "
            "no folder."
        )
    teacher, config, encoders = _loaded(run)
    wrong = []
    if config.teacher.finetune != "none":
        wrong.append("encoders that were trained on, which a run does not keep (teacher.finetune)")
    if (task := TASKS.get(config.data.task)) is not None and task.is_pairwise:
        wrong.append(f"the task {config.data.task}, whose students learn of no rows without labels")
    if wrong:
        raise ValueError(f"`--teacher`: one that can be asked. Received: {'; '.join(wrong)}.")
    opened = Shards.open(shards)
    table = Table(str(shards), shards, "", (), {}, sizes=opened.sizes)
    names = [name for name in teacher.input if name != FOLD]
    check_sizes(table, {name: config.inputs[name] for name in names})
    columns = {column for name in names for column in config.inputs[name].columns_of(name)}
    if not columns & set(opened.header):
        raise TableError(
            f"{shards}: one of the columns that the teacher reads, {', '.join(sorted(columns))}. "
            f"Received: {', '.join(opened.header)}."
        )
    forms = _forms(config, names, encoders)
    return Asked(run, forms, answers_key(teacher, config.inputs, encoders, forms))


def _forms(
    config: RunConfig, names: Sequence[str], encoders: Mapping[str, Sequence[Encoder]]
) -> dict[str, Modality]:
    """The inputs whose tensors the teacher reads, fitted to the run's training rows again."""
    both = config.teacher_reads_both
    wanted = [name for name in names if name not in encoders or both]
    if not wanted:
        return {}
    student = config.student.model_copy(update={"inherit": "none"})
    data = config.data.model_copy(update={"unlabelled": None})
    made = read_dataset(config.model_copy(update={"student": student, "data": data})).modalities
    return {name: form for name, form in teacher_inputs(made).items() if name in wanted}


@functools.lru_cache(1)
def _loaded(run: Path) -> tuple[keras.Model, RunConfig, dict[str, list[Encoder]]]:
    """The teacher of a run, its settings, and the encoders whose features it reads."""
    folder = RunFolder(run)
    config, teacher = folder.read_config(), folder.load_model("teacher")
    if teacher is None:
        raise ValueError(
            f"`--teacher`: the folder of a run with a {TEACHER_FILE}. Received: {run} without. A "
            "released folder has none: make the run anew with mmkd-tf run --config config.yaml."
        )
    if config.teacher_candidates and (comparison := folder.read_comparison()):
        config = config.with_teacher(comparison["chosen"])
    return teacher, config, frozen_encoders(config) if config.teacher_is_pretrained else {}


def unanswered(shards: Path, asked: Asked) -> list[dict]:
    """Of the entries of `shards.json` those whose shards have no answers yet, or not whole."""
    entries = Shards.open(shards).manifest["shards"]
    return [entry for entry in entries if not are_answered(shards, entry, asked.key)]


def answer_shard(shards: Path, asked: Asked, entry: Mapping) -> dict[str, int]:
    """Asks the teacher about a shard, unless its answers are there.

    Args:
        shards: The folder of the shards.
        asked: What `teacher_of` gave.
        entry: Of the shard, what `shards.json` says.

    Returns:
        `rows answered` and `shards reused`, of this one 0 or 1.

    Raises:
        ValueError: If the teacher is another one than was asked at first.
        OSError: If a file can't be written.
    """
    with _ONE_AT_A_TIME, shown_by(None):
        if are_answered(shards, entry, asked.key):
            return {"rows answered": 0, "shards reused": 1}
        teacher, config, encoders = _loaded(asked.run)
        if answers_key(teacher, config.inputs, encoders, asked.forms) != asked.key:
            raise ValueError(
                f"`--teacher`: the same on all workers. Received: {asked.run}, where teacher or "
                "encoders are others than where the command began."
            )
        read = partial(read_by_teacher, encoders=encoders, beside=config.teacher_reads_both)
        examples = _examples(Shards.open(shards).only(entry["file"]), asked, config)
        parts = (ask(teacher, given) for given in map(read, examples))
        write_answers(shards, entry, asked.key, parts, width=teacher.output.shape[-1])
    return {"rows answered": entry["rows"], "shards reused": 0}


def _examples(shard: Shards, asked: Asked, config: RunConfig) -> Iterator[Examples]:
    """Reads a shard, some rows at a time, as `read_by_teacher` takes them."""
    options = {name: config.inputs[name] for name in asked.key["inputs"]}
    columns = {column for name, one in options.items() for column in one.columns_of(name)}
    cells = {name: shard.cells(name) for name in columns & set(shard.header)}
    (entry,) = shard.manifest["shards"]
    for start in range(0, entry["rows"], ROWS_AT_ONCE):
        some = {name: column[start : start + ROWS_AT_ONCE] for name, column in cells.items()}
        tensors, raw = dict[str, Any](), dict[str, Any]()
        for name, one in options.items():
            form, kind = asked.forms.get(name), KINDS[one.kind]
            if isinstance(form, Tabular):  # what a column holds, some rows may not show
                kinds = {column["name"]: column["kind"] for column in form.columns}
                one = one.model_copy(update={"kinds": kinds})
            raw[name], _ = kind.read(cells_of(some, name, one), one)
            if form is not None:
                tensors[name] = in_tensor_form(form, raw[name])
        number = len(next(iter(some.values())))
        yield Examples(tensors, np.zeros([number, 0], np.uint8), raw)
