"""Measures what soft targets and hints cost in training, as ratios measured side by side.

    python benchmarks/training.py

It prints the seconds of an epoch of each variant, and the ratios. Where PyTorch is installed, the
same models in PyTorch take part (`training_torch.py`).
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
import typer

from mmkd_tf.data.batches import num_steps, training_batches
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.feature_terms import Hint
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.training import steps_together
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.builder import build_student, build_teacher
from mmkd_tf.models.inputs import route
from mmkd_tf.models.seeding import seeded
from mmkd_tf.models.weighing import WeightedSum

HINT_LAYER = "fused_features"
THEIRS = "keras.distillation with hint"
WARM_UP_ROUNDS = 1
TORCH_CLAIMS = (
    ("student", "torch student"),
    ("online", "torch online"),
    ("online", "torch online, compiled, bfloat16"),
    ("cached", "torch online, compiled, bfloat16"),
)


def benchmark_training(
    *, num_rounds: int = 7, num_examples: int = 1024, batch_size: int = 32, seed: int = 0
) -> dict:
    """Measures epochs of the default models on random pictures and texts, in turn.

    In each round every variant trains for one epoch, one after the other and beginning with
    another one each time, so that what else the machine does falls on all alike. Pictures and
    texts are not augmented: that costs all variants the same and would hide what they differ in.

    Args:
        num_rounds: Rounds that count; one more goes before.
        num_examples: Training examples.
        batch_size: Examples in a batch.
        seed: Seed of data and models.

    Returns:
        `seconds`: median seconds of an epoch by variant; `ratios`: for each claim the median over
        the rounds of its ratio, with the least and the greatest: `cached / student`,
        `online / (student + teacher forward)`, `online with hint / keras.distillation with hint`,
        and `cached with hint / keras.distillation with hint`; where PyTorch is installed also
        those of `TORCH_CLAIMS`.

    Raises:
        ValueError: If a number is less than 1.
    """
    wrong = {"num_rounds": num_rounds, "num_examples": num_examples, "batch_size": batch_size}
    wrong = {name: value for name, value in wrong.items() if value < 1}
    if wrong:
        raise ValueError(f"`{'`, `'.join(wrong)}`: 1 or more. Received: {wrong}.")
    dataset = random_dataset(num_examples, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        variants = _variants(dataset, Path(folder), batch_size=batch_size, seed=seed)
        rounds = [timed_round(variants, index) for index in range(WARM_UP_ROUNDS + num_rounds)]
    rounds = rounds[WARM_UP_ROUNDS:]
    claims = {
        "cached / student": lambda s: s["cached"] / s["student"],
        "online / (student + teacher forward)": (
            lambda s: s["online"] / (s["student"] + s["teacher forward"])
        ),
        f"online with hint / {THEIRS}": lambda s: s["online with hint"] / s[THEIRS],
        f"cached with hint / {THEIRS}": lambda s: s["cached with hint"] / s[THEIRS],
    }
    if "torch student" in variants:
        claims |= {
            f"{ours} / {theirs}": lambda s, ours=ours, theirs=theirs: s[ours] / s[theirs]
            for ours, theirs in TORCH_CLAIMS
        }
    ratios = {claim: [ratio(seconds) for seconds in rounds] for claim, ratio in claims.items()}
    return {
        "seconds": {name: median(seconds[name] for seconds in rounds) for name in variants},
        "ratios": spreads(ratios),
    }


def spreads(ratios: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """The `median`, `least` and `greatest` over the rounds, by name of a ratio."""
    return {
        name: {"median": median(values), "least": min(values), "greatest": max(values)}
        for name, values in ratios.items()
    }


def timed_round(variants: dict[str, Callable], index: int) -> dict[str, float]:
    """Seconds of each variant, called once; rounds begin with another one each time.

    A variant may measure itself and give its seconds.
    """
    names, seconds = list(variants), {}
    first = index % len(names)
    for name in names[first:] + names[:first]:
        start = time.perf_counter()
        own = variants[name]()
        seconds[name] = own if isinstance(own, float) else time.perf_counter() - start
    return seconds


def _variants(dataset, folder, *, batch_size, seed) -> dict[str, Callable]:
    """Makes a function for each variant that trains it for one epoch."""
    # Equal widths of the fused features, because keras.distillation refuses unequal ones.
    make_student = build_student(dataset, fusion=WeightedSum(64, name="fusion"))
    teacher = seeded(build_teacher(dataset, fusion=WeightedSum(64, name="fusion")), seed=seed)
    cache = cache_soft_targets(
        teacher=teacher,
        dataset=dataset,
        folder=folder / "teacher",
        augment=False,
        layers=[HINT_LAYER],
    )
    steps = num_steps(dataset, batch_size)
    options = {"epochs": 1, "batch_size": batch_size, "seed": seed, "augment": False}
    live = training_batches(dataset, **options)
    cached = training_batches(dataset, **options, soft_targets=cache)
    soft_targets, hint = SoftTargets(4.0, 0.5), Hint(HINT_LAYER, 0.4)

    def student():
        return seeded(make_student, seed=seed)

    def trained(model, batches, **arguments):
        arguments["steps_per_execution"] = steps_together(steps)  # as a run trains
        model.compile(keras.optimizers.Adam(), jit_compile=False, **arguments)
        return lambda: model.fit(batches, steps_per_epoch=steps, verbose=0)

    def distilled(source, batches, terms):
        return trained(Distiller(student=student(), teacher=source), batches, terms=terms)

    labels = {
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy"],
    }
    peers: dict[str, Callable] = {}
    if find_spec("torch"):
        from training_torch import torch_variants

        train = dataset.splits["train"]
        like = {"student": student().count_params(), "teacher": teacher.count_params()}
        given = {**train.inputs, "labels": train.labels}
        peers = torch_variants(given, batch_size=batch_size, like=like)
    return peers | {
        "student": trained(student(), live, **labels),
        "teacher forward": _forward(teacher, live),
        "cached": distilled(cache, cached, [soft_targets]),
        "online": distilled(teacher, live, [soft_targets]),
        "cached with hint": distilled(cache, cached, [soft_targets, hint]),
        "online with hint": distilled(teacher, live, [soft_targets, hint]),
        "keras.distillation with hint": trained(
            _keras_distiller(teacher, student()), live, **labels
        ),
    }


def _forward(teacher, batches) -> Callable:
    @tf.function(reduce_retracing=True)
    def run(x):
        return teacher(route(teacher, x), training=False)

    def epoch():
        for x, _ in batches:
            run(x)

    return epoch


def _keras_distiller(teacher, student) -> keras.Model:
    """The same terms with Keras' own Distiller, told to compute the divergence."""
    from keras.distillation import Distiller as KerasDistiller
    from keras.distillation import FeatureDistillation, LogitsDistillation

    logits = LogitsDistillation(temperature=4.0, loss=keras.losses.KLDivergence())
    features = FeatureDistillation(
        loss="mse", teacher_layer_name=HINT_LAYER, student_layer_name=HINT_LAYER
    )
    return KerasDistiller(
        teacher=teacher,
        student=student,
        distillation_losses=[logits, features],
        distillation_loss_weights=[0.5, 0.4],
        student_loss_weight=0.1,
    )


def random_dataset(num_examples: int, *, seed: int) -> Dataset:
    """Pictures of 64 x 64 pixels, texts of up to 32 words out of 2,000, 9 classes."""
    rng = np.random.default_rng(seed)
    words = ["<pad>", "<unk>", *(f"word{index}" for index in range(1998))]
    lengths = rng.integers(1, 33, [num_examples, 1])
    ids = rng.integers(2, 2000, [num_examples, 32]) * (np.arange(32) < lengths)
    inputs = {
        "image": rng.integers(0, 256, [num_examples, 64, 64, 3], dtype=np.uint8),
        "text": ids.astype("int32"),
    }
    examples = Examples(inputs, rng.integers(0, 9, num_examples).astype("int32"))
    return Dataset(
        name="random",
        splits=dict.fromkeys(("train", "validation", "test"), examples),
        class_names=[f"class {index}" for index in range(9)],
        modalities={"image": Image(height=64), "text": Text(vocabulary=words, length=32)},
    )


def training_text(measured: Mapping) -> str:
    """Lists seconds and ratios.

    Args:
        measured: What `benchmark_training` returns.

    Returns:
        Lines of text.
    """
    return times_text(measured["seconds"], measured["ratios"], of="one epoch", unit="seconds")


def times_text(times: Mapping, ratios: Mapping, *, of: str, unit: str) -> str:
    """Lists times by what was timed, and ratios with their median, least and greatest.

    Args:
        times: By name, a number.
        ratios: By name, `median`, `least` and `greatest`.
        of: What one time is of.
        unit: That of the times, at most seven letters.

    Returns:
        Lines of text.
    """
    width = max(map(len, (*times, *ratios)))
    lines = [f"{of:<{width}}  {unit:>7}"]
    lines += [f"{name:<{width}}  {value:7.2f}" for name, value in times.items()]
    lines += ["", f"{'ratio':<{width}}   median    least greatest"]
    lines += [
        f"{name:<{width}}  {r['median']:7.3f}  {r['least']:7.3f}  {r['greatest']:7.3f}"
        for name, r in ratios.items()
    ]
    return "\n".join(lines)


def main(
    rounds: Annotated[
        int, typer.Option(help="Rounds that count; in each every variant trains.")
    ] = 7,
    examples: Annotated[int, typer.Option(help="Examples in an epoch.")] = 1024,
) -> None:
    """Compare epochs of plain training, cached soft targets, a live teacher and hints."""
    try:
        measured = benchmark_training(num_rounds=rounds, num_examples=examples)
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(training_text(measured))


if __name__ == "__main__":
    typer.run(main)
