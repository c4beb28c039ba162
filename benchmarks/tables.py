"""Makes the documentation's tables of benchmarks, on a machine where nothing else runs.

    python benchmarks/tables.py                           # all of them, some twenty minutes
    python benchmarks/tables.py training edge --json figures.json

Each benchmark runs in a process of its own. Its tables take the place of those between its lines
`<!-- NAME: python benchmarks/tables.py NAME -->` and `<!-- end of NAME -->` in the documentation.
"""

import importlib
import json
import multiprocessing
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mmkd_tf.report.tables import Table

DOCS = Path(__file__).parents[1] / "docs"


class Benchmark(NamedTuple):
    """Where a benchmark's tables are, its function, and what that is given."""

    page: str
    function: str
    arguments: Mapping[str, Any]


BENCHMARKS = {
    "training": Benchmark("studies.md", "benchmark_training", {"num_rounds": 7}),
    "training_step": Benchmark("teachers.md", "benchmark_training_step", {}),
    "features": Benchmark("teachers.md", "benchmark_features", {}),
    "data": Benchmark("scale.md", "benchmark_times", {}),
    "run": Benchmark("scale.md", "benchmark_run", {"num_examples": 128}),
    "start": Benchmark("scale.md", "benchmark_start", {}),
    "edge": Benchmark("device.md", "benchmark_edge", {}),
}


def measure(name: str) -> dict:
    """Runs a benchmark, in a process that does nothing else."""
    sys.path.insert(0, str(Path(__file__).parent))
    benchmark = BENCHMARKS[name]
    return getattr(importlib.import_module(name), benchmark.function)(**benchmark.arguments)


def tables_of(name: str, measured: Mapping) -> list[Table]:
    """What a benchmark measured, as people read it."""
    if name == "run":
        return [stages(measured)]
    if name == "features":
        columns = ("encoder", "loads in, s", "ms an example", "share of a bare loop's rate")
        rows = [
            (each, f"{found['load_s']:.1f}", f"{found['ms']:.2f}", f"{found['rate']:.2f}")
            for each, found in measured.items()
        ]
        return [Table(columns, rows)]
    if name == "start":
        return [seconds({"seconds": measured})]
    times = [edge_files(measured)] if name == "edge" else [seconds(measured)]
    return [*times, ratios(measured["ratios"])]


def seconds(measured: Mapping) -> Table:
    """A row for each thing that was timed."""
    unit = next(each for each in ("seconds", "milliseconds") if each in measured)
    rows = [(name, f"{value:.2f}") for name, value in measured[unit].items()]
    return Table(("", unit), rows)


def ratios(found: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each claim, over the rounds."""
    kinds = ("median", "least", "greatest")
    rows = [(name, *(f"{each[kind]:.2f}" for kind in kinds)) for name, each in found.items()]
    return Table(("ratio, over the rounds", *kinds), rows)


def edge_files(measured: Mapping) -> Table:
    """A row for each file: its size, memory, and microseconds of a call on one thread."""
    cases = list(measured["texts"])
    rows = []
    for name, file in measured["files"].items():
        latency = file["latency_ms"]["1"]
        calls = (
            f"{1000 * latency[case]['median']:,.0f}" if case in latency else "" for case in cases
        )
        kib, memory = f"{file['bytes'] / 1024:,.0f}", f"{file['peak_memory_mib']:.1f}"
        rows.append((name, kib, memory, *calls))
    return Table(("file", "KiB", "memory, MiB", *cases), rows)


def stages(measured: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each stage of a run, projected to many examples; see `run.run_text`."""
    run = importlib.import_module("run")
    rows = []
    for stage, row in run.projected(measured).items():
        hours = row["milliseconds"] * row["times"] / 3.6e6
        cells = (f"{hours * n:,.1f} h, {row['bytes'] * n / 1e9:,.0f} GB" for n in run.MANY)
        once = f"{row['milliseconds']:.1f}", f"{row['times']:,}", f"{row['bytes']:,.0f}"
        rows.append((stage, *once, *cells))
    many = (f"{number:.0e}".replace("e+0", "e") for number in run.MANY)
    return Table(("stage", "ms, once", "times", "bytes", *many), rows)


def replaced(text: str, name: str, tables: Sequence[Table]) -> str:
    """A page with a benchmark's tables in place of the old ones.

    Raises:
        ValueError: If the page has no place for them.
    """
    first, last = f"<!-- {name}: python benchmarks/tables.py {name} -->", f"<!-- end of {name} -->"
    made = "\n\n".join(table.to_markdown() for table in tables)
    found = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
    if len(found.findall(text)) != 1:
        raise ValueError(
            f"`{BENCHMARKS[name].page}`: one place for {name}, from {first} to {last}."
        )
    return found.sub(lambda _: f"{first}\n{made}\n{last}", text)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all by default.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="A file for all figures.")
    ] = None,
) -> None:
    """Measure, and put the figures into the documentation."""
    chosen = names or list(BENCHMARKS)
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        typer.echo(f"Error: one of {', '.join(BENCHMARKS)}. Received: {unknown}.", err=True)
        raise typer.Exit(2)
    figures = {}
    for name in chosen:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            figures[name] = process.submit(measure, name).result()
        page = DOCS / BENCHMARKS[name].page
        tables = tables_of(name, figures[name])
        page.write_text(replaced(page.read_text("utf-8"), name, tables), encoding="utf-8")
        typer.echo("\n\n".join([f"{name}, in {page}:", *(table.to_text() for table in tables)]))
        if json_file is not None:
            json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
