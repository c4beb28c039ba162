"""Measures what reads a text: students of texts alone by form, on validation.

    python benchmarks/text_forms.py SETS      # the folder with amazon/ and chinese/

Each student is built in, inherits nothing and learns from labels alone, so that the forms are all
that differs; `lstm` reads 32 words, as it does by default.
"""

import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import typer

from mmkd_tf import from_table
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.distill.training import Recipe, train
from mmkd_tf.models.builder import build_student
from mmkd_tf.models.seeding import seeded

SETS = {"chinese": "train-500-rows.csv", "amazon": "train-20-percent.csv"}
EPOCHS, SEEDS = 24, 2


def main(folder: Path) -> None:
    """Prints a row of the table for each set and form."""
    typer.echo("| set | form | words | validation accuracy | by seed | s |")
    typer.echo("| --- | --- | ---: | ---: | --- | ---: |")
    for name, file in SETS.items():
        held_out = {s: str(folder / name / f"{s}.csv") for s in ("validation", "test")}
        for form in ("lstm", "convolution", "average"):
            dataset = from_table(
                str(folder / name / file),
                inputs={"text": {"kind": "text", "encoder": form}},
                options=DatasetOptions(seed=0),
                **held_out,
            )
            validation, found = dataset.splits["validation"], []
            start = time.perf_counter()
            for seed in range(SEEDS):
                student = seeded(build_student(dataset), seed=seed)
                train(student, dataset, Recipe(epochs=EPOCHS, seed=seed))
                logits = student.predict(dict(validation.inputs), batch_size=256, verbose=0)
                found.append(float(np.mean(logits.argmax(1) == validation.labels)))
            seconds = (time.perf_counter() - start) / SEEDS
            seeds = ", ".join(f"{one:.3f}" for one in found)
            length = dataset.modalities["text"].length
            mean = np.mean(found)
            typer.echo(f"| {name} | {form} | {length} | {mean:.3f} | {seeds} | {seconds:.0f} |")


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    main(Path(sys.argv[1]))
