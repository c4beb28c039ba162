"""An exported file and a table: `predict` answers each of its rows, `evaluate` judges the answers.

Answering needs neither TensorFlow nor, of CSV files, pandas.
"""

import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd_tf.commands.errors import errors_for_people
from mmkd_tf.commands.first_checks import check_model
from mmkd_tf.files.tables import NAME_COLUMNS, Table, TableError, read_header, read_table
from mmkd_tf.files.whole import whole_file
from mmkd_tf.progress import each, shown_by
from mmkd_tf.quiet import quiet_tensorflow
from mmkd_tf.terminal import echo, plain

if TYPE_CHECKING:
    from mmkd_tf.edge.model_file import ModelFile

_SHOWN_PROBLEMS = 20
Flag = typer.Option


class Answers:
    """What a file says of the rows of a table.

    Attributes:
        table: The table with all columns whose names are there once.
        outputs: By index of a row, its figures by name of a class, label or target.
        given: By index of a row, the classes or labels that are given.
        problems: By index of a row, why it has no answer.
    """

    def __init__(
        self, file: "ModelFile", path: Path, table: Table, columns: Mapping[str, str | list]
    ):
        from mmkd_tf.edge import Classifier, Regressor
        from mmkd_tf.edge.examples import READERS

        self.file, self.table = file, table
        self.outputs: dict[int, dict[str, float]] = {}
        self.given: dict[int, Sequence[str]] = {}
        self.problems: dict[int, str] = dict(table.broken)
        regressor = Regressor(path) if file.output == "values" else None
        classifier = Classifier(path) if regressor is None else None
        readers = {name: READERS.get(file.inputs[name].get("kind", name)) for name in columns}
        folders = {
            name: table.folder if getattr(reader, "reads_files", False) else None
            for name, reader in readers.items()
        }
        for index in each(range(len(table)), "rows answered", len(table)):
            if index in self.problems:
                continue
            try:
                row = {
                    name: [
                        _value(table.columns[one][index], folders[name])
                        if one in table.columns
                        else None
                        for one in column
                    ]
                    if isinstance(column, list)
                    else _value(table.columns[column][index], folders[name])
                    for name, column in columns.items()
                }
                if regressor is not None:
                    self.outputs[index] = regressor.predict(**row)
                elif classifier is not None:
                    answer = classifier.predict(**row)
                    self.outputs[index], self.given[index] = answer.probabilities, answer.labels
            except (ValueError, TypeError, OSError) as error:
                self.problems[index] = str(error).splitlines()[0]

    def check(self, *, skip_bad_rows: bool) -> None:
        """Lists the rows that have no answer, unless they are to be skipped and are not all."""
        if not self.problems or (skip_bad_rows and len(self.problems) < len(self.table)):
            return
        lines = [
            f"  row {self.table.numbers[i]}: {self.problems[i]}" for i in sorted(self.problems)
        ]
        if len(lines) > _SHOWN_PROBLEMS:
            lines = [*lines[:_SHOWN_PROBLEMS], f"  and {len(lines) - _SHOWN_PROBLEMS:,} more."]
        advice = "Correct them"
        if len(self.problems) < len(self.table):
            advice += ", or go on without them: --skip-bad-rows"
        raise ValueError(
            f"`TABLE`: rows that can be read. Received: {len(self.problems):,} of "
            f"{len(self.table):,} rows of {self.table.source} ({self.table.counting}) that can't "
            "be:\n" + "\n".join(lines) + f"\n{advice}."
        )

    def rows(self) -> tuple[list[str], list[list]]:
        """Header and rows: the table's own columns, then the answer and a figure by output."""
        own = [name for name, cells in self.table.columns.items() if not _has_bytes(cells)]
        names = list(self.file.class_names)
        classes, several = self.file.output != "values", self.file.threshold is not None
        header = [f"predicted {name}" for name in names]
        if classes:
            first = ["prediction"] if several else ["prediction", "probability"]
            header = [*first, *(f"probability of {name}" for name in names)]
        # A table that has such a column already keeps it.
        header = [name if name not in own else f"model's {name}" for name in header]
        rows = []
        for index in range(len(self.table)):
            row = [_text(self.table.columns[name][index]) for name in own]
            found = self.outputs.get(index)
            if found is None:
                rows.append(row + [""] * len(header))
                continue
            figures = [f"{found[name]:.6g}" for name in names]
            if classes:
                best = [] if several else [f"{max(found.values()):.6g}"]
                figures = ["|".join(self.given[index]), *best, *figures]
            rows.append(row + figures)
        return [*own, *header], rows


def predict_table(
    model: Path,
    table: Path,
    columns: Mapping[str, str],
    *,
    output: Path | None,
    overwrite: bool,
    skip_bad_rows: bool,
    as_json: bool,
) -> None:
    """Answers each row of a table, and writes a CSV file, whole, or to standard output.

    A file that is there is replaced only with `overwrite`, and the table itself never.
    """
    if output is not None:
        _check_output(output, table, overwrite=overwrite)
    elif overwrite:
        raise ValueError("`--overwrite`: only with --output, the file that may be replaced.")
    answers = answer_table(model, table, columns)
    answers.check(skip_bad_rows=skip_bad_rows)
    header, rows = answers.rows()
    if as_json:
        echo(json.dumps([dict(zip(header, row, strict=True)) for row in rows], ensure_ascii=False))
    if output is None:
        if not as_json:
            to = io.StringIO()
            csv.writer(to).writerows([header, *rows])
            # What a file gets is what it is.
            at_terminal = sys.stdout.isatty()
            sys.stdout.write(plain(to.getvalue()) if at_terminal else to.getvalue())
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as to:
        csv.writer(to).writerows([header, *rows])
    skipped = f", {len(answers.problems):,} without an answer" if answers.problems else ""
    echo(f"Answers for {len(rows) - len(answers.problems):,} rows{skipped}: {output}", err=True)


def _check_output(output: Path, table: Path, *, overwrite: bool) -> None:
    if output.suffix.lower() != ".csv" or output.is_dir():
        raise ValueError(f"`--output`: a CSV file, such as answers.csv. Received: {output}.")
    if not output.exists():
        return
    if table.exists() and output.samefile(table):
        raise ValueError(f"`--output`: another file than the table. Received: {output}.")
    if not overwrite:
        raise ValueError(
            f"`--output`: a file that is not there yet. Received: {output}, which is. Choose "
            "another name, or replace it with --overwrite."
        )


def answer_table(
    model: Path,
    table: Path,
    columns: Mapping[str, str],
    *,
    labels: Sequence[str] = (),
    quiet: bool = False,
) -> Answers:
    """Asks a file about each row.

    Args:
        model: A `.tflite` file, or the folder of a run.
        table: A CSV or Parquet file.
        columns: By name of an input, its column; what is not named is found by the settings of the
            run's folder, or by the input's own name, and is absent where there is no such column.
        labels: Further columns that the table must have.
        quiet: Whether no progress is shown.
    """
    from mmkd_tf.edge.model_file import find_file, read_model_file
    from mmkd_tf.report.progress import Reporter, progress_console

    check_model(model)
    path = find_file(model, "student") if model.is_dir() else model
    file = read_model_file(path)
    if file.output == "embedding":
        raise ValueError(
            f"`MODEL`: a file that answers by itself. Received: {path}, of {file.task}, whose "
            "answers are found among candidates: mmkd-tf predict FOLDER --candidates FILE."
        )
    if unknown := [name for name in columns if name not in file.inputs]:
        raise ValueError(
            f"`--{unknown[0]}`: a column of an input that the model has, "
            f"{', '.join(file.inputs)}. Received: {columns[unknown[0]]}. Leave it out."
        )
    try:
        usual, header = _columns_of_run(model), read_header(table)
    except TableError as error:
        raise TableError(f"`TABLE`: {error}") from None
    given = {name: _named(column, header or ()) for name, column in columns.items()}
    # A file says the columns that an input is read from where they are several.
    wanted = {
        name: given.get(name) or usual.get(name) or about.get("columns", name)
        for name, about in file.inputs.items()
    }
    all_columns = [column for one in wanted.values() for column in _each(one)]
    if header is None:
        read_table(table, all_columns)  # says what is wrong
        header = all_columns
    needed = [*(column for one in given.values() for column in _each(one)), *labels]
    # Of several columns some may be missing, as cells may.
    there = {name: one for name, one in wanted.items() if set(_each(one)) & set(header)}
    if not there or not set(needed) <= set(header):
        try:
            read_table(table, [*(needed if there else all_columns)])
        except TableError as error:
            flags = f"--image, --text, {'--label ' if labels else ''}or --input NAME=COLUMN"
            said = str(error).replace(NAME_COLUMNS, f"Name yours with {flags}.")
            raise TableError(f"`TABLE`: {said}") from None
    reporter = Reporter(progress_console(quiet=quiet))
    if left_out := [name for name in wanted if name not in there]:
        reporter.say(
            f"Note: {table} has no column '{', '.join(_each(wanted[left_out[0]]))}': "
            f"{', '.join(left_out)} is absent in all rows."
        )
    once = [name for name in header if header.count(name) == 1 and name]
    rows = read_table(table, once)
    for note in rows.notes:
        reporter.say(f"Note: {note}")
    with shown_by(reporter.steps):
        return Answers(file, path, rows, there)


def evaluate(
    model: Annotated[Path, typer.Argument(help="A .tflite file, or the folder of a run.")],
    table: Annotated[Path, typer.Argument(help="A CSV or Parquet table with labels.")],
    image: Annotated[str | None, Flag(help="Column of picture paths.")] = None,
    text: Annotated[str | None, Flag(help="Column of texts.")] = None,
    inputs: Annotated[
        list[str] | None,
        Flag("--input", metavar="NAME=COLUMN", help="Column of an input of another name."),
    ] = None,
    label: Annotated[
        str | None, Flag(help="Column of labels; by default that of the run, or label.")
    ] = None,
    skip_bad_rows: Annotated[
        bool, Flag("--skip-bad-rows", help="Go on without rows that can't be used.")
    ] = False,
    quiet: Annotated[bool, Flag("--quiet", "-q", help="No progress.")] = False,
    as_json: Annotated[bool, Flag("--json", help="Print JSON.")] = False,
) -> None:
    """Measure an exported file on a table with labels: overall, with an interval, and by class."""
    with errors_for_people():
        from mmkd_tf.edge.model_file import find_file, read_model_file

        columns = named_columns(image, text, inputs)
        check_model(model)
        file = read_model_file(find_file(model, "student") if model.is_dir() else model)
        labels = label or _labels_of_run(model)
        labels = list(file.class_names) if file.output == "values" and not label else [labels]
        if len(labels) == 1 and file.output == "values":
            labels = [name.strip() for name in labels[0].split(",")]
        answers = answer_table(model, table, columns, labels=labels, quiet=quiet)
        figures = _measured(answers, labels, skip_bad_rows=skip_bad_rows)
    if as_json:
        echo(json.dumps(figures, ensure_ascii=False))
    else:
        echo(_as_text(figures))


def named_columns(
    image: str | None, text: str | None, inputs: Sequence[str] | None
) -> dict[str, str]:
    """By name of an input, the column that flags give it."""
    if wrong := [pair for pair in inputs or () if not pair.partition("=")[2]]:
        raise ValueError(f"`--input`: NAME=COLUMN, for example front=photo. Received: {wrong}.")
    given = {"image": image, "text": text} | dict(pair.split("=", 1) for pair in inputs or ())
    return {name: str(column) for name, column in given.items() if column is not None}


def _measured(answers: Answers, label_columns: Sequence[str], *, skip_bad_rows: bool) -> dict:
    """The figures of the file's task on the rows."""
    quiet_tensorflow()
    import numpy as np

    from mmkd_tf.data.table import decode_labels
    from mmkd_tf.evaluate.statistics import wilson_interval
    from mmkd_tf.tasks import find_task

    task, names = find_task(answers.file.task), list(answers.file.class_names)
    table = answers.table
    decode_labels(table, label_columns)
    answers.problems |= table.broken
    cells = [tuple(table.columns[c][row] for c in label_columns) for row in range(len(table))]
    labels, wrong = task.read_labels(cells, separator="|", names=label_columns)
    for index, label in enumerate(labels):
        of_row = [label] if isinstance(label, str) else label
        if index not in wrong and answers.file.output != "values":
            unknown = [name for name in of_row if _renamed(name, names) not in names]
            if unknown:
                wrong[index] = f"label {unknown[0]!r}: none of the model's, {', '.join(names[:10])}"
    for index, reason in wrong.items():
        answers.problems.setdefault(index, reason)
    answers.check(skip_bad_rows=skip_bad_rows)
    kept = [row for row in range(len(table)) if row not in answers.problems]
    chosen = [labels[row] for row in kept]
    if answers.file.output != "values":
        chosen = [
            _renamed(one, names)
            if isinstance(one, str)
            else tuple(_renamed(name, names) for name in one)
            for one in chosen
        ]
    array = task.label_array(chosen, names)
    outputs = np.array([[answers.outputs[row][name] for name in names] for row in kept])
    outputs = task.deactivate(outputs)
    figures = task.measure(labels=array, outputs=outputs, names=names)
    interval = None
    if (scores := task.example_scores(labels=array, outputs=outputs)) is not None:
        interval = list(wilson_interval(float(scores.mean()), len(scores)))
    return {
        "task": task.name,
        "num_examples": len(kept),
        "left_out": len(table) - len(kept),
        "headline": task.headline,
        "interval": interval,
        **figures,
    }


def _as_text(figures: Mapping) -> str:
    """The figures as plain text: the headline with its interval, then by class."""
    from mmkd_tf.report.tables import Table as Printed
    from mmkd_tf.tasks import find_task

    words = find_task(figures["task"]).words
    left_out = f", {figures['left_out']:,} left out" if figures["left_out"] else ""
    lines = [f"{figures['num_examples']:,} rows{left_out}"]
    for title, key, form in words.columns:
        low_high = ""
        if key == figures["headline"] and figures["interval"]:
            low_high = " (95 %: {:.3f} to {:.3f})".format(*figures["interval"])
        lines.append(f"{title}: {figures[key]:{form}}{low_high}")
    listed = figures.get(words.per_output)
    if listed:
        forms = words.output_columns
        rows = [
            [row["name"], *(_formed(row[key], form) for _, key, form in forms)] for row in listed
        ]
        titles = ["", *(title.removeprefix("test ") for title, _, _ in forms)]
        lines += ["", Printed(tuple(titles), list(map(tuple, rows))).to_text()]
    return "\n".join(lines)


def _formed(value, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _renamed(label: str, names: Sequence[str]) -> str:
    """A label as the model's classes are written: 3.0 is 3."""
    if label in names:
        return label
    try:
        number = float(label)
    except ValueError:
        return label
    return str(int(number)) if math.isfinite(number) and number.is_integer() else str(number)


def _value(cell, folder: Path | None):
    """A cell as the file's reader takes it, a path in `folder` if any; None where it is empty."""
    if isinstance(cell, dict):  # as Hugging Face's datasets write pictures to Parquet files
        if not {"bytes", "path"} & set(cell):
            raise ValueError(f"a struct of {', '.join(map(str, cell))}, without `bytes` or `path`")
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, bytes):
        if folder is None:  # no file
            try:
                cell = cell.decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"bytes that are not UTF-8 at byte {error.start:,}") from None
        return cell or None
    if _is_array(cell):
        return cell
    text = _text(cell)
    if not text:
        return None
    return text if folder is None else folder / text


def _text(cell) -> str:
    """A cell as text, empty where it is missing."""
    if isinstance(cell, str):
        return cell.strip()
    missing = cell is None or (isinstance(cell, float) and math.isnan(cell))
    return "" if missing else str(cell).strip()


def _has_bytes(cells: Sequence) -> bool:
    """Whether cells are no texts or numbers, but files or arrays."""
    return any(isinstance(cell, (bytes, dict)) or _is_array(cell) for cell in cells[:20])


def _is_array(cell) -> bool:
    """Whether a cell holds an array or a list."""
    return not isinstance(cell, str) and hasattr(cell, "__len__")


def _settings_of_run(model: Path) -> dict:
    file = (model if model.is_dir() else model.parent) / "config.yaml"
    if not file.is_file():
        return {}
    from mmkd_tf.settings.yaml_files import read_yaml_file

    try:
        found = read_yaml_file(file)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def rough_calibration_of_run(model: Path) -> str:
    """Says that the probabilities of a run's files are rough, by the results beside them."""
    from mmkd_tf.edge.remarks import rough_calibration

    file = (model if model.is_dir() else model.parent) / "results.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8")).get("calibration")
        return rough_calibration(found) if isinstance(found, dict) else ""
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return ""


def _named(column: str, header: Sequence[str]) -> str | list[str]:
    """What a flag names: a column, or several with commas between."""
    if column in header or "," not in column:
        return column
    return [name.strip() for name in column.split(",")]


def _each(columns: str | list[str]) -> list[str]:
    return columns if isinstance(columns, list) else [columns]


def _columns_of_run(model: Path) -> dict[str, str | list[str]]:
    """By name of an input, the column that the run beside a file read it from, or columns."""
    inputs = _settings_of_run(model).get("inputs")
    inputs = inputs if isinstance(inputs, dict) else {}
    return {
        name: options.get("columns") or options["column"]
        for name, options in inputs.items()
        if isinstance(options, dict) and isinstance(options.get("column"), str)
    }


def _labels_of_run(model: Path) -> str:
    data = _settings_of_run(model).get("data")
    label = data.get("label") if isinstance(data, dict) else None
    return ", ".join(label) if isinstance(label, list) else label or "label"
