"""Measures a model's TFLite files beside Keras' own, ONNX Runtime and a SavedModel.

    python benchmarks/edge.py                        # an untrained default student
    python benchmarks/edge.py saved_models/items     # the student of a finished run

It prints the table of sizes, memory, latency and operators. For those of others:
`pip install 'mmkd-tf[peers]'`; what is not installed is named and left out.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from edge_files.ours import cases_of, count_words, export_ours, random_examples, random_student
from edge_files.peers import export_peers
from edge_files.results import describe_files, describe_refusals, edge_text, ratios
from edge_files.rounds import REAL, measure, save_examples

from mmkd_tf.export.contract import check_model
from mmkd_tf.export.parity import keras_logits
from mmkd_tf.run import load_finished
from mmkd_tf.tasks import DEFAULT_TASK, Task

_NUM_EXAMPLES = 50


def benchmark_edge(
    model: keras.Model | None = None,
    *,
    examples: Mapping[str, np.ndarray] | None = None,
    num_rounds: int = 15,
    num_calls: int = 100,
    seed: int = 0,
    task: Task | str = DEFAULT_TASK,
) -> dict:
    """Measures a model's TFLite files beside Keras' own, ONNX Runtime and a SavedModel.

    Each file runs in a process of its own, for one and for two threads. In each round all of them
    are called one after the other, beginning with another one each time, so that what else the
    machine does falls on all alike. A call is one example: it includes setting the inputs and
    reading the output in Python, but no decoding of pictures and splitting of texts. What is not
    installed is named and left out.

    Args:
        model: Functional model that gives logits; by default the untrained default student,
            since weights don't matter for time.
        examples: By input name, examples in tensor form, such as the validation split's: their
            texts have the lengths of real ones, and they calibrate quantised files. Without
            them pictures are noise and texts have 1 to 10 words.
        num_rounds: Rounds that count; one more goes before.
        num_calls: Calls of each file in a round, for each of the texts' lengths and each number
            of threads.
        seed: Seed of what is made or chosen at random.
        task: What the model is for.

    Returns:
        `model`, `parameters`, `num_rounds`, `num_calls`, `made_examples` (whether there were none);
        `texts`: by case the `least`, `mean` and `greatest` number of words;
        `files`: by name `bytes`, `peak_memory_mib` (growth of a fresh process), `operators` (how
        often each occurs), `max_abs_logit_difference` from Keras (None for the text branch) and
        `latency_ms`: by number of threads ("1", "2") and case, `median` and `p95`;
        `absent`: by name of a file why it was not measured;
        `ratios`: for each claim the median over the rounds of its ratio, with the least and the
        greatest; one thread, texts of real lengths.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model, the examples or a number don't fit.
        NotImplementedError: If the model needs an operator that TFLite lacks.
    """
    wrong = {"num_rounds": num_rounds, "num_calls": num_calls}
    wrong = {name: value for name, value in wrong.items() if value < 1}
    if wrong:
        raise ValueError(f"`{'`, `'.join(wrong)}`: 1 or more. Received: {wrong}.")
    model = random_student(seed=seed) if model is None else model
    made = examples is None
    given = random_examples(model, seed=seed) if made else examples
    inputs = check_model(model, class_names=_class_names(model), examples=given, task=task)
    cases = cases_of(inputs, number=_NUM_EXAMPLES, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_examples(cases, folder / "examples.npz")
        ours, failed = export_ours(model, inputs, folder, task=task)
        peers, absent = export_peers(model, inputs, folder)
        files = [*ours, *peers]
        rounds = {"num_rounds": num_rounds, "num_calls": num_calls}
        measured, refused = measure(files, folder / "examples.npz", list(cases), **rounds)
        logits = keras_logits(model, cases[REAL])
        found = describe_files(files, measured, logits=logits, task=task)
        absent |= describe_refusals(files, refused)
    return {
        "model": model.name,
        "parameters": model.count_params(),
        **rounds,
        "made_examples": made,
        "texts": count_words(cases),
        "files": found,
        "absent": {**failed, **absent},
        "ratios": ratios(measured),
    }


def _class_names(model):
    """As many as the model has classes; the check of the model says what else is wrong."""
    shapes = [tensor.shape for tensor in getattr(model, "outputs", None) or ()]
    return [f"class {index}" for index in range((shapes[0][-1] if shapes else 0) or 0)]


def main(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="The folder of a finished run; by default an untrained default student.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Which model of the run: student, student_alone or teacher.")
    ] = "student",
    rounds: Annotated[
        int, typer.Option(help="Rounds that count; in each every file is called.")
    ] = 15,
    calls: Annotated[int, typer.Option(help="Calls of each file in a round.")] = 100,
) -> None:
    """Compare a model's TFLite files with Keras' own, ONNX Runtime and the SavedModel."""
    try:
        loaded, examples, task = None, None, DEFAULT_TASK
        if folder is not None:
            _, loaded, dataset = load_finished(folder, model)
            if dataset.task.is_pairwise:
                raise ValueError(
                    "`FOLDER`: a run whose model is one file. Received: one of "
                    f"{dataset.task.name}, whose results.json has the latency of each of its files."
                )
            examples, task = dataset.splits["validation"].inputs, dataset.task
        measured = benchmark_edge(
            loaded, examples=examples, num_rounds=rounds, num_calls=calls, task=task
        )
    except (ValueError, TypeError, OSError, ImportError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(edge_text(measured))


if __name__ == "__main__":
    typer.run(main)
