"""Measures the input pipeline: memory and time of tables with many pictures.

    python benchmarks/data.py              # times alone, a minute or two
    python benchmarks/data.py --rows 2000 --rows 200000 --json data.json

With `--rows` each number of rows is a whole run of one epoch in a process of its own, and what is
printed is how far its peak memory lies above that of the first.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from PIL import Image

FIRST, LATER, BARE, SHARE = "first epoch", "later epoch", "bare Pillow", "share of waiting"
CLAIM = f"{FIRST} / ({LATER} + {BARE})"
RENDERED = 2000  # different drawings; further rows are these, moved
_SIZE = 64

_RUN = """
import sys
from mmkd_tf.cli import app
app(sys.argv[1:], standalone_mode=False)
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("peak", int(lines["VmHWM"].split()[0]) / 1024)
"""


def write_table(folder: Path, num_rows: int, *, seed: int = 0) -> Path:
    """Writes rows of the catalog data: JPEG files of 64 x 64 pixels, titles and classes.

    Args:
        folder: An empty folder, or one that does not exist.
        num_rows: How many.
        seed: Seed of the drawings and the titles.

    Returns:
        The path of the CSV file.
    """
    from mmkd_tf.data.embedded.catalog import CatalogConfig, make_item, write_title
    from mmkd_tf.data.embedded.catalog_pictures import draw_picture

    config, drawn, lines = CatalogConfig(seed=seed), [], ["image,text,label"]
    for row in range(num_rows):
        rng = np.random.default_rng([seed, row])
        item = make_item(config, rng)
        title = write_title(*item.in_text, rng)
        if row < RENDERED:
            drawn.append((np.asarray(draw_picture(*item.in_image, rng, _SIZE)), item.label))
        picture, label = drawn[row % RENDERED]
        moved = np.roll(picture, divmod(row // RENDERED, _SIZE), axis=(0, 1))
        path = folder / f"{row // 1000}" / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(moved).save(path, quality=90)
        lines.append(f"{path.relative_to(folder)},{title},{label}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "items.csv"


def benchmark_times(
    *, num_rounds: int = 3, num_rows: int = 8000, size: int = _SIZE, seed: int = 0
) -> dict:
    """Measures reading, epochs of the default student and bare decoding, in turn.

    In each round the pictures are decoded anew. Building and tracing are left out.

    Args:
        num_rounds: Rounds that count.
        num_rows: Rows of the table.
        size: Of the pictures as the student reads them, pixels.
        seed: Seed of data and models.

    Returns:
        `seconds`: medians of reading with the first epoch, of a later epoch, and of decoding all
        files with Pillow in one thread; `ratios`: of the first to the sum of the others, and of
        the time that a later epoch waits for its batches to all of it, each with `median`,
        `least` and `greatest`.

    Raises:
        ValueError: If a number is less than 1.
    """
    given = {"num_rounds": num_rounds, "num_rows": num_rows}
    if wrong := {name: value for name, value in given.items() if value < 1}:
        raise ValueError(f"`{'`, `'.join(wrong)}`: 1 or more. Received: {wrong}.")
    from training import spreads

    from mmkd_tf.files.kept import CACHE_VARIABLE

    before, rounds = os.environ.get(CACHE_VARIABLE), []
    with tempfile.TemporaryDirectory() as name:
        table = write_table(Path(name) / "table", num_rows, seed=seed)
        try:
            for index in range(num_rounds):
                os.environ[CACHE_VARIABLE] = f"{name}/cache{index}"
                rounds.append(_round(table, size=size, seed=seed))
        finally:
            os.environ.pop(CACHE_VARIABLE)
            if before is not None:
                os.environ[CACHE_VARIABLE] = before
    ratios = {
        CLAIM: [each[FIRST] / (each[LATER] + each[BARE]) for each in rounds],
        SHARE: [each[SHARE] for each in rounds],
    }
    return {
        "seconds": {name: median(r[name] for r in rounds) for name in (FIRST, LATER, BARE)},
        "ratios": spreads(ratios),
    }


def _round(table: Path, *, size: int, seed: int) -> dict[str, float]:
    from mmkd_tf.data.options import DatasetOptions
    from mmkd_tf.data.table import from_table

    options = DatasetOptions(image_size=size, seed=seed)
    start = time.perf_counter()
    dataset = from_table(table, options=options)
    reading, found = time.perf_counter() - start, {}
    step, batches = _training(dataset, seed=seed)
    for number, name in enumerate((FIRST, LATER)):
        start, waited = time.perf_counter(), 0.0
        shown = iter(batches(number))
        while True:
            asked = time.perf_counter()
            batch = next(shown, None)
            waited += time.perf_counter() - asked
            if batch is None:
                break
            step(*batch)
        found[name] = time.perf_counter() - start
    found[FIRST] += reading
    found[SHARE] = waited / found[LATER]
    start = time.perf_counter()
    for path in sorted(table.parent.rglob("*.jpg")):
        with Image.open(path) as file:
            np.asarray(file.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    found[BARE] = time.perf_counter() - start
    return found


def _training(dataset, *, seed: int):
    """A step that waits for its end, traced already, and a function to the batches of an epoch."""
    import keras
    import tensorflow as tf

    from mmkd_tf.data.batches import training_batches
    from mmkd_tf.models.builder import build_student
    from mmkd_tf.models.seeding import seeded

    model = seeded(build_student(dataset), seed=seed)
    model.compile(keras.optimizers.AdamW(), loss=dataset.task.loss(None), jit_compile=False)
    model.optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)
    def run(x, y):
        return model.train_step((x, y))

    def step(x, y):
        return float(run(x, y)["loss"])

    def batches(epoch):
        return training_batches(dataset, epochs=epoch + 1, first_epoch=epoch, seed=seed)

    some = next(iter(batches(0)))
    for number in (32, 31):  # of any size
        step(*tf.nest.map_structure(lambda values, n=number: values[:n], some))
    return step, batches


def benchmark_memory(sizes: Sequence[int], *, seed: int = 0) -> dict:
    """Measures the peak memory of whole runs of one epoch, with a teacher trained from scratch.

    Args:
        sizes: Numbers of rows, each a run in a process of its own.
        seed: Seed of data and models.

    Returns:
        `peak_memory_mib`, `seconds` and, in MiB on disk, `kept_mib`, by number of rows.
    """
    found: dict[str, dict[int, float]] = {"peak_memory_mib": {}, "seconds": {}, "kept_mib": {}}
    for num_rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            table = write_table(folder / "table", num_rows, seed=seed)
            arguments = ["run", str(table), "--output", f"{name}/run", "--epochs", "1", "--quiet"]
            arguments += ["--set", "teacher.encoders=scratch"]
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", _RUN, *arguments],
                env={**os.environ, "MMKD_TF_CACHE": f"{name}/cache"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found["seconds"][num_rows] = time.perf_counter() - start
            found["peak_memory_mib"][num_rows] = float(done.stdout.rpartition("peak ")[2])
            kept = sum(file.stat().st_size for file in (folder / "cache").rglob("*.npy"))
            found["kept_mib"][num_rows] = kept / 2**20
    return found


def data_text(times: Mapping | None, memory: Mapping | None) -> str:
    """Lists what `benchmark_times` and `benchmark_memory` return, those that are given."""
    lines = []
    if times is not None:
        from training import times_text

        lines += [times_text(times["seconds"], times["ratios"], of="", unit="seconds")]
    if memory is not None:
        lines += ["", "     rows  peak MiB  above first  kept MiB  seconds"]
        peaks = memory["peak_memory_mib"]
        first = next(iter(peaks.values()))
        lines += [
            f"{rows:9,}  {peak:8,.0f}  {peak - first:11,.0f}  {memory['kept_mib'][rows]:8,.0f}  "
            f"{memory['seconds'][rows]:7,.0f}"
            for rows, peak in peaks.items()
        ]
    return "\n".join(lines).strip("\n")


def main(
    rows: Annotated[
        list[int] | None, typer.Option(help="Rows of a whole run whose memory is measured.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of times; 0 for none.")] = 3,
    timed_rows: Annotated[int, typer.Option(help="Rows of the table that is timed.")] = 8000,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="A file for all figures.")
    ] = None,
) -> None:
    """Measure what many pictures cost in memory and in time."""
    try:
        memory = benchmark_memory(rows) if rows else None
        times = benchmark_times(num_rounds=rounds, num_rows=timed_rows) if rounds else None
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(data_text(times, memory))
    if json_file is not None:
        json_file.write_text(json.dumps({"times": times, "memory": memory}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
