"""Measures what each stage of a run costs an example, and what that means for very many.

    python benchmarks/run.py

It prints processor time and bytes of an example by stage, and projects them. It takes about a
minute on a quiet machine; processor time is nearly the same on a busy one.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from training import random_dataset
from training_step import HELD, HELD_OUTPUTS, variants_of

from mmkd_tf.backbones import find_backbone
from mmkd_tf.data.pretrained import FeatureVector
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.training import Recipe
from mmkd_tf.modalities.picture_files import read_pictures
from mmkd_tf.models.builder import build_teacher

SIDES = 640, 480  # pixels of a picture file
SIZE = 64  # of a picture as the student reads it
VIEWS = 8  # of the held blocks, and of soft targets here
EPOCHS, STUDENTS = Recipe.epochs, 2  # the student alone and the distilled one
MANY = (10**6, 10**8, 10**9)
WORDS = "a red bicycle leans against the wall of an old house"


def benchmark_run(*, num_examples: int = 256, seed: int = 0) -> dict[str, dict[str, float]]:
    """Measures each stage on random pictures and one text, after a part that warms up.

    Args:
        num_examples: Examples, 64 or more.
        seed: Seed of data and models.

    Returns:
        By stage `milliseconds` of processor an example, once; `times` that a run of the default
        settings does it for each example; `bytes` an example that it leaves in memory or on disk.

    Raises:
        ValueError: If there are fewer examples than 64.
    """
    if num_examples < 64:
        raise ValueError(f"`num_examples`: 64 or more. Received: {num_examples}.")
    dataset, rng = random_dataset(num_examples, seed=seed), np.random.default_rng(seed)
    found: dict[str, dict[str, float]] = {}

    def measure(stage: str, run: Callable, num_bytes: float, times: int = 1) -> None:
        run()
        start = time.process_time()
        run()
        each = 1000 * (time.process_time() - start) / num_examples
        found[stage] = {"milliseconds": each, "times": times, "bytes": num_bytes}

    with tempfile.TemporaryDirectory() as folder:
        files = _files(Path(folder), num_examples, rng)
        own = SIZE * SIZE * 3
        measure("picture decoded", lambda: read_pictures(files, size=SIZE), own)
        pictures = rng.integers(0, 256, [num_examples, 224, 224, 3], dtype=np.uint8)
        lengths = {}
        for name, backbone, values in (
            ("picture", "efficientnet_lite0", pictures),
            ("text", "use_multilingual", [f"{WORDS} {i}" for i in range(num_examples)]),
        ):
            encoder = find_backbone(backbone).load()
            lengths[name] = encoder.backbone.dim
            measure(
                f"features of the {name}",
                lambda e=encoder, v=values: e.features(v),
                4 * encoder.backbone.dim,
            )
        seen = dataset.with_inputs(
            lambda e: {n: rng.normal(size=[len(e), d]) for n, d in lengths.items()},
            {n: FeatureVector(n, d, "random") for n, d in lengths.items()},
        )
        teacher, calls = build_teacher(seen), iter(range(9))
        measure(
            "soft targets of a view",
            lambda: cache_soft_targets(
                teacher=teacher, dataset=seen, folder=Path(folder) / f"kept{next(calls)}"
            ),
            4 * dataset.num_classes * VIEWS,
            VIEWS,
        )
    variants = variants_of(dataset, size="small", epochs=1, seed=seed)
    kept = variants[HELD_OUTPUTS]().modalities["image"].views[0].numpy().nbytes
    measure("held blocks of a view", variants[HELD_OUTPUTS], kept * VIEWS, STUDENTS * VIEWS)
    measure("student, an epoch", variants[HELD], 0, STUDENTS * EPOCHS)
    return found


def _files(folder: Path, number: int, rng) -> list[str]:
    """JPEG files with some structure, as photos have."""
    for index in range(number):
        small = Image.fromarray(rng.integers(0, 256, [30, 40, 3], dtype=np.uint8))
        small.resize(SIDES, Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)
    return [str(folder / f"{index}.jpg") for index in range(number)]


def projected(measured: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, Any]]:
    """The stages and behind them `all`, what a run costs an example."""
    spent = sum(row["milliseconds"] * row["times"] for row in measured.values())
    num_bytes = sum(row["bytes"] for row in measured.values())
    return {**measured, "all": {"milliseconds": spent, "times": 1, "bytes": num_bytes}}


def run_text(measured: Mapping[str, Mapping[str, float]]) -> str:
    """A table of the stages, and of hours of one core and bytes by number of examples.

    Args:
        measured: What `benchmark_run` returns.
    """
    head = "".join(f"{f'{number:.0e}'.replace('e+0', 'e'):>20}" for number in MANY)
    lines = [f"{'stage':<24}{'ms':>8}{'times':>7}{'bytes':>8}{head}"]
    for stage, row in projected(measured).items():
        hours = row["milliseconds"] * row["times"] / 3.6e6
        cells = (f"{hours * n:,.0f} h {row['bytes'] * n / 1e9:,.0f} GB" for n in MANY)
        start = f"{stage:<24}{row['milliseconds']:8.3f}{row['times']:7}{row['bytes']:8.0f}"
        lines.append(start + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def main(examples: Annotated[int, typer.Option(help="Examples to measure with.")] = 256) -> None:
    """Measure the stages of a run, and say what many examples would cost on one core."""
    try:
        measured = benchmark_run(num_examples=examples)
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(run_text(measured))


if __name__ == "__main__":
    typer.run(main)
