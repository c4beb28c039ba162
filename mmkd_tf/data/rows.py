"""Rows: what a table or a split holds, read but not yet checked or divided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmkd_tf.files.shards import CellTuples
from mmkd_tf.files.tables import Table, TableError
from mmkd_tf.modalities.modality import InputOptions, Modality, RawValues, select

LISTED_PROBLEMS = 20


@dataclass
class Rows:
    """Rows in memory, with what is wrong with them."""

    source: str  # what people call the table or split
    counting: str  # how `numbers` count, for messages, such as "row 1 is the header"
    numbers: Sequence[int]  # of each row as people count
    labels: Sequence[str | tuple]  # see `Task.read_labels`
    inputs: Mapping[str, RawValues]  # by name, raw values, see `Modality.read`
    kinds: Mapping[str, type[Modality]]  # by name of an input
    problems: dict[int, list[str]] = field(default_factory=dict)  # by index of a row
    unlabelled: Sequence[int] = ()  # indices of the rows whose label cells are empty

    def __len__(self) -> int:
        return len(self.numbers)

    def add_problem(self, index: int, reason: str) -> None:
        self.problems.setdefault(index, []).append(reason)

    def select(self, indices: Sequence[int] | np.ndarray) -> "Rows":
        """Gives some of the rows, with their problems."""
        return Rows(
            source=self.source,
            counting=self.counting,
            numbers=[self.numbers[index] for index in indices],
            labels=[self.labels[index] for index in indices],
            inputs={name: select(values, indices) for name, values in self.inputs.items()},
            kinds=self.kinds,
            problems={
                new: self.problems[index]
                for new, index in enumerate(indices)
                if index in self.problems
            },
        )

    def without_problems(self) -> "Rows":
        if not self.problems:
            return self
        return self.select([index for index in range(len(self)) if index not in self.problems])

    def content_keys(self) -> list[tuple[bytes, ...]]:
        """Gives for each row a key that rows of the same inputs share."""
        keys = [self.kinds[name].content_keys(values) for name, values in self.inputs.items()]
        return list(zip(*keys, strict=True))


def cells_of(columns: Mapping[str, Sequence], name: str, options: InputOptions) -> Sequence:
    """The cells that an input is read from; where its options have `columns`, tuples.

    Columns that are not there have empty cells; of one that has none the cells are all None.
    """
    found = [columns.get(column) for column in options.columns_of(name)]
    number = len(next(iter(columns.values()), ()))
    filled = [[None] * number if cells is None else cells for cells in found]
    return CellTuples(filled) if getattr(options, "columns", None) else filled[0]


def check_sizes(table: Table, inputs: Mapping[str, InputOptions]) -> None:
    """Refuses decoded pictures of another size than the inputs', which would be decoded twice."""
    wrong = []
    for name, options in inputs.items():
        wanted = getattr(options, "size", None)
        for column in options.columns_of(name):
            size = table.sizes.get(column)
            if size is not None and size != wanted:
                wrong.append(
                    f"`inputs.{name}.size`: {size}, at which {table.source} holds the pictures of "
                    f"'{column}'. Received: {wanted}. Set {size}, or prepare the table again with "
                    "the other size into another folder."
                )
    if wrong:
        raise TableError("\n".join(wrong))


def check_rows(
    rows: Rows, input_problems: Sequence[Mapping[int, str]], label_problems: Mapping[int, str]
) -> None:
    """Notes what is wrong with each row by itself: in a cell, or that it has no input at all."""
    for problems in (*input_problems, label_problems):
        for index, reason in problems.items():
            rows.add_problem(index, reason)
    lacks = list(dict.fromkeys(kind.missing() for kind in rows.kinds.values()))
    nothing = f"neither {' nor '.join(lacks)}"
    if len(lacks) == 1:
        nothing = f"it lacks {lacks[0]}, and there is no other input"
    empty = np.all([rows.kinds[n].absent(values) for n, values in rows.inputs.items()], axis=0)
    for index in np.flatnonzero(empty):
        if not any(index in problems for problems in input_problems):
            rows.add_problem(int(index), nothing)


class DataError(ValueError):
    """Data that can't be trained on; its message lists all `num_problems` problems found."""

    def __init__(self, message: str, num_problems: int):
        super().__init__(message)
        self.num_problems = num_problems


def data_error(name: str, tables: Mapping[str, Rows], general: Sequence[str]) -> DataError:
    """Makes one error of all problems: the general ones and the first of those with rows."""
    lines = [f"  {problem}" for problem in general]
    num_listed, num_bad_rows = 0, 0
    for rows in tables.values():
        reasons = [
            f"    row {rows.numbers[index]}: {reason}"
            for index in sorted(rows.problems)
            for reason in rows.problems[index]
        ]
        num_bad_rows += len(rows.problems)
        shown = reasons[: max(0, LISTED_PROBLEMS - num_listed)]
        if shown:
            lines += [f"  {rows.source} ({rows.counting}):", *shown]
        num_listed += len(reasons)
    if num_listed > LISTED_PROBLEMS:
        lines.append(f"  and {num_listed - LISTED_PROBLEMS:,} more.")
    if num_bad_rows and not general:
        rows, them = ("row", "it") if num_bad_rows == 1 else (f"{num_bad_rows:,} rows", "them")
        lines.append(
            f"Correct the {rows}, or go on without {them}: skip_bad_rows=True (on the command "
            "line --skip-bad-rows)."
        )
        if any(rows.unlabelled for rows in tables.values()):
            lines.append(
                "Rows without a label can serve to teach the student: unlabelled_rows=True (on the "
                "command line --set data.unlabelled_rows=true)."
            )
    num_problems = num_listed + len(general)
    count = "1 problem" if num_problems == 1 else f"{num_problems:,} problems"
    message = f"{name}: expected data that a model can learn from. Received: {count}:\n"
    return DataError(message + "\n".join(lines), num_problems)
