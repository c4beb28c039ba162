"""The report of a run: what is kept for it in the run's folder, and the page made of that."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.evaluate.run_comparison import compare_models, compare_runs
from mmkd_tf.evaluate.statistics import Predictions
from mmkd_tf.files.whole import whole_file
from mmkd_tf.report.class_tables import (
    CLASS_TABLES_FILE,
    with_class_tables,
    without_class_tables,
)
from mmkd_tf.report.gallery import gallery
from mmkd_tf.report.history import History
from mmkd_tf.report.page import report_page
from mmkd_tf.report.runs_page import runs_page
from mmkd_tf.report.sentences import task_of
from mmkd_tf.runs.folder import CONFIG_FILE, RESULTS_FILE, RunFolder

REPORT_FILE = "report.html"
RUNS_FILE = "comparison.html"
EXAMPLES_FILE = "examples.json"
OUTPUTS_FILE = "test_outputs.npz"
# What values of another kind lead to, within a page and in what is counted for it.
_OF_EDITED_FILES = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError),
    *(jinja2.TemplateError, zipfile.BadZipFile),
)


def keep_test_outputs(
    folder: RunFolder, dataset: Dataset, outputs: Mapping[str, np.ndarray]
) -> dict:
    """Keeps what the models say of the test split, and of some examples what a page shows.

    Args:
        folder: The run's; it gets `test_outputs.npz`, with `labels` and the outputs by role, and
            `examples.json`, see `mmkd_tf.report.gallery.gallery`.
        dataset: The data.
        outputs: By role, `[n, num_outputs]`.

    Returns:
        For `results.json`: `test_comparison`, what `compare_models` gives, and `reliability`, by
        role what `Task.reliability` does, None where outputs are no probabilities.
    """
    task, labels = dataset.task, dataset.splits["test"].labels
    folder.write_arrays(OUTPUTS_FILE, labels=labels, **outputs)
    folder.write_text(EXAMPLES_FILE, json.dumps(gallery(dataset, outputs), ensure_ascii=False))
    training = dataset.splits["train"].labels
    about: dict[str, Any] = {
        "training_labels": training,
        "labels": labels,
        "names": dataset.class_names,
    }
    naive, words = task.naive_outputs(**about)
    compared = compare_models(
        {name: Predictions(task, labels, values) for name, values in outputs.items()},
        naive=Predictions(task, labels, naive),
        naive_words=words,
        rng=np.random.default_rng(0),
    )
    bins = {name: task.reliability(labels=labels, outputs=of) for name, of in outputs.items()}
    return {
        "test_comparison": compared,
        "reliability": bins if task.gives_probabilities else None,
    }


def write_results(folder: RunFolder, results: Mapping) -> dict:
    """Writes `results.json`, and beside it the tables of many classes; gives what it holds."""
    slim, tables = without_class_tables(results)
    if tables:
        compact = json.dumps(tables, ensure_ascii=False, separators=(",", ":"))
        folder.write_text(CLASS_TABLES_FILE, compact + "\n")
    folder.write_text(RESULTS_FILE, json.dumps(slim, indent=2, ensure_ascii=False) + "\n")
    return slim


def write_report(folder: RunFolder, results: Mapping) -> Path:
    """Writes `report.html` of what `results.json` holds and of the examples that were kept."""
    file = folder.path / EXAMPLES_FILE
    examples = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    folder.write_text(REPORT_FILE, report_page(results, examples=examples))
    return folder.path / REPORT_FILE


def report_again(path: Path) -> Path:
    """Makes the report of a run anew from its folder, also of one that stopped half-way.

    Returns:
        The page.

    Raises:
        ValueError: If it is no folder of a run.
    """
    results = read_run(path)
    with _as_written(path / RESULTS_FILE, path / EXAMPLES_FILE):
        return write_report(RunFolder(path), results)


def report_runs(paths: Sequence[Path], output: Path) -> Path:
    """Writes a page that compares runs; the errors of all folders come together."""
    runs, problems = {}, []
    for path in paths:
        try:
            runs[str(path)] = read_run(path)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    files = [path / name for path in paths for name in (RESULTS_FILE, OUTPUTS_FILE)]
    with _as_written(*files):
        page = runs_page(runs, _paired(runs))
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return output


@contextmanager
def _as_written(*files: Path) -> Iterator[None]:
    """Says what a page is made of where it holds what no run has written."""
    try:
        yield
    except _OF_EDITED_FILES as error:
        there = ", ".join(f"`{file}`" for file in files if file.is_file())
        raise ValueError(
            f"{there}: as the run has written them. Received: one that was edited or damaged "
            f"({type(error).__name__}: {error}). Put it back, or make the run anew with its "
            "config.yaml."
        ) from error


def _paired(runs: Mapping[str, Mapping]) -> dict[str, dict]:
    """What `compare_runs` says of the runs that were measured on the first one's test examples."""
    found = {path: _student(Path(path), results) for path, results in runs.items()}
    (first, reference), *_ = found.items()
    if reference is None:
        return {}
    names = runs[first]["dataset"]["class_names"]
    alike = {
        path: student
        for path, student in found.items()
        if student is not None
        and student.task is reference.task
        and runs[path]["dataset"]["class_names"] == names
        and np.array_equal(student.labels, reference.labels)
    }
    return compare_runs(alike, rng=np.random.default_rng(0))


def _student(path: Path, results: Mapping) -> Predictions | None:
    """What the student of a finished run says of its test split."""
    file = path / OUTPUTS_FILE
    if "student" not in results or not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as kept:
        return Predictions(task_of(results), kept["labels"], kept["student"])


def read_run(path: Path) -> dict:
    """What `results.json` of a run's folder holds; of an unfinished run what is there so far."""
    folder, file = RunFolder(path), Path(path) / RESULTS_FILE
    if file.is_file():
        try:
            results = {**json.loads(file.read_text(encoding="utf-8"))}
            if (
                "class_tables" in results
                and (tables := file.with_name(CLASS_TABLES_FILE)).is_file()
            ):
                file = tables
                found = json.loads(tables.read_text(encoding="utf-8"))
                results = with_class_tables(results, found)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"`{file}`: the results of a run, as JSON. Received: a damaged file ({error}). "
                "Make the run anew with its config.yaml."
            ) from None
        return {"history": History(folder.path).read(), **results}
    if not (folder.path / CONFIG_FILE).is_file():
        raise ValueError(
            f"`{path}`: the folder of a run. Received: one without {RESULTS_FILE} and "
            f"{CONFIG_FILE}. Begin a run with mmkd-tf run."
        )
    config = folder.read_config()
    return {
        "unfinished": True,
        "config": config.model_dump(),
        "seed": config.seed,
        "history": History(folder.path).read(),
        "seconds": folder.seconds(),
    }
