"""Exports a Keras model as one TFLite file that any LiteRT interpreter runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.tokenizer import Tokenizer
from mmkd_tf.export.benchmark import latency_ms
from mmkd_tf.export.contract import check_model
from mmkd_tf.export.convert import convert
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.export.parity import Export, check_logits, compare, keras_logits


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    examples: Mapping[str, np.ndarray],
    vocabulary: Sequence[str] | None = None,
    quantize: str | None = None,
) -> Export:
    """Writes a model as a TFLite file with builtin operators only, and proves it.

    The file takes one example: signature `serving_default`, inputs named as the model's, output
    `probabilities`, float32 `[1, num_classes]`. Labels, vocabulary and a description of the
    inputs are inside; `mmkd_tf.edge.Classifier` reads it. Before it gets its name it is run on
    the examples, in two orders and with each modality absent, and compared with Keras.

    Args:
        model: Functional model that gives logits; the softmax is added. It stays as it is.
        path: The file to write; one that exists is replaced. Missing folders are made.
        class_names: Name of each class, in the order of the model's outputs.
        examples: By input name, examples in tensor form along the first axis, such as the test
            split's; the first 200 are used. They fix the sizes that the model leaves open.
        vocabulary: Words in the order of their ids, for a model with an input `text`. Without
            it the file takes token ids, but no text.
        quantize: None keeps float32 weights; "dynamic" stores them as int8, a quarter of the
            size, and computes large products in int8.

    Returns:
        Size, latency and difference from Keras.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model, the examples or another argument don't fit.
        NotImplementedError: If the model needs an operator that TFLite lacks.
        RuntimeError: If the file differs from Keras by more than its bound: 1e-4 nats in float32;
            see `mmkd_tf.export.parity.Difference.exceeds` for int8.
    """
    inputs = check_model(
        model,
        class_names=class_names,
        examples=examples,
        problems=_option_problems(model, examples, vocabulary, quantize),
    )
    check_logits(keras_logits(model, inputs), case="the examples")
    content = add_metadata(
        convert(model, inputs, quantize=quantize),
        name=model.name,
        class_names=class_names,
        vocabulary=vocabulary,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unproved = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unproved.write_bytes(content)
        runner = TensorRunner(unproved.read_bytes())
        result = compare(
            model=model,
            run=lambda tensors: _run(runner, tensors),
            inputs=inputs,
            exact=quantize is None,
        )
        milliseconds = latency_ms(unproved, inputs)
        os.replace(unproved, path)
    finally:
        unproved.unlink(missing_ok=True)
    return Export(
        file=str(path),
        bytes=len(content),
        latency_ms=milliseconds,
        max_abs_logit_difference=result.max_abs_logit_difference,
        top1_agreement=result.top1_agreement,
        num_examples=len(next(iter(inputs.values()))),
    )


def _option_problems(
    model: keras.Model,
    examples: Mapping[str, np.ndarray],
    vocabulary: Sequence[str] | None,
    quantize: str | None,
) -> list[str]:
    problems = []
    if quantize not in (None, "dynamic"):
        problems.append(f"`quantize`: None or 'dynamic'. Received: quantize={quantize!r}.")
    if vocabulary is None:
        return problems
    if all(tensor.name != "text" for tensor in getattr(model, "inputs", ())):
        problems.append(
            "`vocabulary`: None for a model without an input `text`. "
            f"Received: {len(vocabulary)} words. Leave it out."
        )
    try:
        Tokenizer(vocabulary, length=1)
    except ValueError as error:
        problems.append(str(error))
    if any("\n" in word or "\r" in word for word in vocabulary):
        problems.append(
            "`vocabulary`: words without line breaks, as vocab.txt holds one a line. "
            "Make it with mmkd_tf.edge.tokenizer.build_vocabulary()."
        )
    largest = np.max(examples["text"], initial=0) if "text" in examples else 0
    if largest >= len(vocabulary):
        problems.append(
            f"`vocabulary`: a word for each token id. Received: {len(vocabulary)} words, ids up "
            f"to {largest}. Give the vocabulary that the examples were made with."
        )
    return problems


def _run(runner: TensorRunner, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Runs examples one by one: `[n, num_classes]`."""
    rows = zip(*tensors.values(), strict=True)
    return np.stack(
        [runner({k: v[np.newaxis] for k, v in zip(tensors, row, strict=True)}) for row in rows]
    )
