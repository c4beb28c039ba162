"""Measures what a row costs to prepare as a shard, and what a preparation that is killed loses.

Prints the figures of docs/scale.md: rows per second of processor time of a plain loop with Pillow
over the same files, of a shard's work alone, and of the whole command on Beam's DirectRunner (with
all starting costs); then one preparation is killed in the midst and begun again.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64


def make_table(folder: Path, rows: int) -> Path:
    """Photographs of 640 x 480 as JPEG, texts and labels."""
    rng = np.random.default_rng(0)
    lines = ["image,text,label"]
    for row in range(rows):
        coarse = Image.fromarray(rng.integers(0, 256, (10, 8, 3), np.uint8))
        pixels = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC)).astype(float)
        pixels += rng.normal(0, 6, pixels.shape)
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        picture.save(folder / f"{row}.jpg", quality=90)
        lines.append(f"{row}.jpg,a thing of number {row},{'ab'[row % 2]}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


def plain_loop(folder: Path, rows: int) -> None:
    """Decodes as a script would that somebody writes in a minute."""
    for row in range(rows):
        with Image.open(folder / f"{row}.jpg") as picture:
            np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def shards_alone(table: Path, output: Path, rows: int) -> None:
    """Makes the shards in this process, without Beam."""
    from mmkd_tf.data.options import DatasetOptions, named_inputs
    from mmkd_tf.data.shard_plan import plan, shard_settings
    from mmkd_tf.data.shard_writer import finish, make_shard

    options = DatasetOptions(image_size=SIZE)
    inputs = named_inputs(None, image="image", text="text", options=options)
    how = shard_settings(table, inputs, "label", options)
    jobs = plan(table, output, how, rows_per_shard=rows)
    for job in jobs:
        make_shard(job)
    finish(jobs)


def command(table: Path, output: Path, rows: int, workers: int) -> list[str]:
    """The command that prepares on DirectRunner."""
    given = [str(table), "--output", str(output), "--rows-per-shard", str(rows)]
    if workers > 1:
        given += ["--beam-option", "direct_running_mode=multi_processing"]
        given += ["--beam-option", f"direct_num_workers={workers}"]
    return [sys.executable, "-m", "mmkd_tf", "data", "prepare", *given]


def cpu_seconds(do) -> float:
    """Processor time of this process and of the children that it waits for."""

    def now():
        of = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in of)

    before = now()
    do()
    return now() - before


def killed_and_begun_again(table: Path, output: Path, rows: int) -> dict:
    """Kills a preparation once a few shards are there, and begins it again."""
    process = subprocess.Popen(
        command(table, output, rows, 1), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(list(output.glob("part-*"))) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    leftovers = len(list(output.glob(".unfinished*")))
    again = subprocess.run(
        [*command(table, output, rows, 1), "--json"], check=True, capture_output=True, text=True
    )
    manifest = json.loads(again.stdout)
    kept = sum((output / name).stat().st_mtime_ns == at for name, at in there.items())
    return {
        "shards there when killed": len(there),
        "half-written files then": leftovers,
        "of these made again": len(there) - kept,
        "shards in the end": len(manifest["shards"]),
        "rows in the end": manifest["rows"],
        "half-written files in the end": len(list(output.glob(".unfinished*"))),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    rows = given.rows
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "table").mkdir()
        table = make_table(folder / "table", rows)
        shards_alone(table, folder / "first", rows)  # so that all is imported
        costs: dict[str, list[float]] = {"loop": [], "shards": [], "command": []}
        for number in range(given.rounds):
            costs["loop"].append(cpu_seconds(lambda: plain_loop(table.parent, rows)))
            output = folder / f"shards-{number}"
            costs["shards"].append(
                cpu_seconds(lambda output=output: shards_alone(table, output, rows // 8))
            )
            once = command(table, folder / f"command-{number}", rows // 8, given.workers)
            costs["command"].append(
                cpu_seconds(lambda once=once: subprocess.run(once, check=True, capture_output=True))
            )
        for what, seconds in costs.items():
            median = float(np.median(seconds))
            ratio = np.median([a / b for a, b in zip(costs["loop"], seconds, strict=True)])
            sys.stdout.write(
                f"{what:8} {rows / median:8.0f} rows per CPU second, {median:6.2f} s, "
                f"{ratio:.2f} of the loop's rate\n"
            )
        num_bytes = sum(path.stat().st_size for path in (folder / "first").iterdir())
        sys.stdout.write(f"{num_bytes / rows:,.0f} bytes a row\n")
        killed = killed_and_begun_again(table, folder / "killed", rows // 20)
        sys.stdout.write(json.dumps(killed) + "\n")


if __name__ == "__main__":
    main()
