"""Measures what a training step costs a student that inherits from a pretrained encoder.

    python benchmarks/training_step.py

It prints the milliseconds of a step of each student, and ratios. It takes about a minute.
"""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Annotated

import keras
import numpy as np
import typer
from training import WARM_UP_ROUNDS, random_dataset, spreads, timed_round, times_text

from mmkd_tf.backbones import find_backbone
from mmkd_tf.data.batches import num_steps, training_batches
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.distill.held import held_model, with_held
from mmkd_tf.distill.training import Recipe
from mmkd_tf.models.builder import build_student
from mmkd_tf.models.inheritance import SIZES, Source, inherited_encoders
from mmkd_tf.models.seeding import seeded

PLAIN, HELD, ALL = "plain", "inherited, held", "inherited, all trained"
HELD_OUTPUTS = "outputs of held blocks, once"


def benchmark_training_step(
    *,
    num_rounds: int = 3,
    num_examples: int = 256,
    epochs: int = Recipe.epochs,
    size: str = "small",
    seed: int = 0,
) -> dict:
    """Measures epochs of three students on random pictures and texts, in turn.

    They are the plain student; the one that inherits blocks of EfficientNet-Lite0 and words, as it
    is trained: its held blocks are run once for each view before the first epoch; and the same
    with all blocks trained. In each round all are timed, one after the other and beginning with
    another one each time, so that what else the machine does falls on all alike. Pictures and
    texts are augmented; building, compiling and tracing are left out. The numbers that stand for
    words are random: they change no time.

    Args:
        num_rounds: Rounds that count; one more goes before.
        num_examples: Training examples.
        epochs: Of a whole training, over which the cost of the held outputs is spread.
        size: How much is inherited, one of `SIZES`.
        seed: Seed of data and models.

    Returns:
        `milliseconds`: medians of a training step by student, of `inherited, held` without and
        with its share of the held outputs, which take `outputs of held blocks, once` for the whole
        training; `ratios`: for each to the plain student the median over the rounds, with the least
        and the greatest.

    Raises:
        ValueError: If a number is less than 1, or there is no such size.
    """
    given = {"num_rounds": num_rounds, "num_examples": num_examples, "epochs": epochs}
    problems = [
        f"`{name}`: 1 or more. Received: {name}={value}."
        for name, value in given.items()
        if value < 1
    ]
    if size not in SIZES:
        problems.append(f"`size`: one of {', '.join(SIZES)}. Received: size={size!r}.")
    if problems:
        raise ValueError("\n".join(problems))
    dataset = random_dataset(num_examples, seed=seed)
    variants = variants_of(dataset, size=size, epochs=epochs, seed=seed)
    rounds = [timed_round(variants, index) for index in range(WARM_UP_ROUNDS + num_rounds)]
    steps = num_steps(dataset, Recipe.batch_size)
    times = [_by_step(seconds, steps, epochs) for seconds in rounds[WARM_UP_ROUNDS:]]
    ratios = {
        f"{name} / {PLAIN}": [each[name] / each[PLAIN] for each in times]
        for name in times[0]
        if name not in (PLAIN, HELD_OUTPUTS)
    }
    return {
        "milliseconds": {name: median(each[name] for each in times) for name in times[0]},
        "ratios": spreads(ratios),
    }


def _by_step(seconds: Mapping[str, float], steps: int, epochs: int) -> dict[str, float]:
    """Milliseconds of a step, of epochs and of what is done once for all of them."""
    each = {name: 1000 * seconds[name] / steps for name in (PLAIN, HELD, ALL)}
    once = 1000 * seconds[HELD_OUTPUTS]
    whole = {f"{HELD}, its outputs spread over {epochs} epochs": each[HELD] + once / steps / epochs}
    return {PLAIN: each[PLAIN], HELD: each[HELD], **whole, ALL: each[ALL], HELD_OUTPUTS: once}


def variants_of(dataset: Dataset, *, size: str, epochs: int, seed: int) -> dict[str, Callable]:
    """Makes a function for each student that trains it for an epoch, and one for held outputs."""
    sizes = SIZES[size]
    text = dataset.modalities["text"].with_words([f"more{i}" for i in range(sizes.words)])
    # The texts have no word of these; a step costs the same.
    richer = dataset.with_inputs(lambda e: dict(e.inputs), {**dataset.modalities, "text": text})
    sources = {"image": Source(find_backbone("efficientnet_lite0").load())}
    sources["text"] = Source(_RandomWords())
    inherited = inherited_encoders(richer.modalities, sources, sizes, seed=seed)
    built = build_student(richer, encoders=inherited)
    every, partly = seeded(built, seed=seed), seeded(built, seed=seed)
    every.get_layer("image_held").trainable = True
    part, held = held_model(partly)

    def outputs():
        return with_held(richer, held, epochs=epochs, seed=seed, augment=True)

    return {
        PLAIN: _epoch(seeded(build_student(dataset), seed=seed), dataset, seed=seed),
        HELD: _epoch(part, outputs().only(list(part.input)), seed=seed),
        ALL: _epoch(every, richer, seed=seed),
        HELD_OUTPUTS: outputs,
    }


def _epoch(model: keras.Model, dataset: Dataset, *, seed: int) -> Callable:
    steps = num_steps(dataset, Recipe.batch_size)
    model.compile(
        keras.optimizers.AdamW(Recipe.learning_rate, weight_decay=Recipe.weight_decay),
        loss=dataset.task.loss(dataset.target_statistics),
        metrics=dataset.task.metrics(),
        jit_compile=False,
        steps_per_execution=steps,
    )
    shown = training_batches(dataset, epochs=1, batch_size=Recipe.batch_size, seed=seed)
    return lambda: model.fit(shown, steps_per_epoch=steps, verbose=0)


class _RandomWords:
    """Stands for an encoder of texts."""

    def features(self, words):
        return np.random.default_rng(0).normal(size=(len(words), 64)).astype(np.float32)


def training_step_text(measured: Mapping) -> str:
    """Lists milliseconds and ratios.

    Args:
        measured: What `benchmark_training_step` returns.

    Returns:
        Lines of text.
    """
    return times_text(measured["milliseconds"], measured["ratios"], of="one step", unit="ms")


def main(
    rounds: Annotated[
        int, typer.Option(help="Rounds that count; in each every student trains.")
    ] = 3,
    examples: Annotated[int, typer.Option(help="Examples in an epoch.")] = 256,
    epochs: Annotated[int, typer.Option(help="Epochs of a whole training.")] = Recipe.epochs,
    size: Annotated[str, typer.Option(help="How much is inherited.")] = "small",
) -> None:
    """Compare training steps of a plain student and of one that inherits."""
    try:
        measured = benchmark_training_step(
            num_rounds=rounds, num_examples=examples, epochs=epochs, size=size
        )
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(training_step_text(measured))


if __name__ == "__main__":
    typer.run(main)
