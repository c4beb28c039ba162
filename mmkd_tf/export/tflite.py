"""Exports a Keras model as one TFLite file that any LiteRT interpreter runs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.tokenizer import Tokenizer
from mmkd_tf.export.benchmark import latency_ms
from mmkd_tf.export.contract import MAX_EXAMPLES, check_model, task_problems
from mmkd_tf.export.convert import convert
from mmkd_tf.export.labels import label_problems
from mmkd_tf.export.ladder import climb
from mmkd_tf.export.logits import check_logits, keras_logits
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.export.parity import Export, compare
from mmkd_tf.export.quantize import LEVELS
from mmkd_tf.export.quantize import quantize as quantized
from mmkd_tf.export.spelling import as_bytes
from mmkd_tf.export.text_bytes import text_reader

AUTO = "auto"


@dataclass(frozen=True)
class TFLiteOptions:
    """What is seldom changed of a TFLite export.

    Attributes:
        batch_size: Number of examples that the file takes at a time; None for any.
        calibration: By input name, examples in tensor form to quantise with, of the training
            split; by default those that the file is compared on.
        max_accuracy_loss: What `quantize="auto"` may lose, as a share: 0.005 is half a point. Of
            other tasks, of their headline figure, see `mmkd_tf.tasks`.
        author: Who made the model; kept in the file.
        licence: The model's licence; kept in the file.
        task: What the model is for, one of `mmkd_tf.tasks.TASKS`; of retrieval one tower.
    """

    batch_size: int | None = 1
    calibration: Mapping[str, np.ndarray] | None = None
    max_accuracy_loss: float = 0.005
    author: str | None = None
    licence: str | None = None
    task: str = "single_label"


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    examples: Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
    vocabulary: Sequence[str] | None = None,
    quantize: str | None = None,
    text_input: str = "ids",
    options: TFLiteOptions | None = None,
) -> Export:
    """Writes a model as a TFLite file with builtin operators only, and proves it.

    The file has the signature `serving_default`, inputs named as the model's, and the output
    `probabilities` (of regression `values`, of retrieval `embedding`), float32 `[batch,
    num_classes]`. Labels, vocabulary and a description of the inputs are inside;
    `mmkd_tf.edge.Classifier` reads it, or of regression `Regressor`, of retrieval `Encoder`.
    Before it gets its name it is run on the examples, in two orders and with each modality absent,
    and compared with Keras.

    Args:
        model: Functional model that gives logits; the softmax is added, or for several labels the
            sigmoid. It stays as it is.
        path: The file to write; one that exists is replaced. Missing folders are made.
        class_names: Name of each class, in the order of the model's outputs; of retrieval none.
        examples: By input name, examples in tensor form along the first axis, such as the
            validation split's; the first 500 are used. They fix the sizes that the model leaves
            open.
        labels: int `[n]`, the classes of the examples, to measure accuracy; of other tasks float
            `[n, num_classes]`, see `Examples.labels`; of retrieval the embeddings of the other
            modality, to measure recall at 10 among them.
        vocabulary: Words in the order of their ids, for a model with an input `text`. Without
            it the file takes token ids, but no text.
        quantize: None keeps float32 weights. A level of `mmkd_tf.export.quantize.LEVELS` makes
            the file smaller. "auto" tries them all and takes the smallest file that agrees with
            Keras and keeps the accuracy.
        text_input: "ids": the file takes token ids, int32 `[batch, length]`. "bytes": it takes
            UTF-8, uint8 `[batch, num_bytes]`, zeros on the right, and has the tokenizer inside.
        options: Batch size, calibration and what else is seldom changed.

    Returns:
        Size, latency and difference from Keras.

    Raises:
        TypeError: If `model` is no Keras model, or another argument is of another type.
        ValueError: If the model, the examples or another argument don't fit.
        NotImplementedError: If the model needs an operator that TFLite lacks.
        RuntimeError: If the file differs from Keras by more than its bound: 1e-4 nats in float32;
            see `mmkd_tf.export.parity.Difference.exceeds` for the other levels.
    """
    options = TFLiteOptions() if options is None else options
    _check_types(examples, options)
    task = options.task
    problems = task_problems(task)
    problems += _option_problems(model, examples, vocabulary, quantize, text_input)
    problems += label_problems(examples, labels, len(class_names), task=task)
    inputs = check_model(
        model, class_names=class_names, examples=examples, problems=problems, task=task
    )
    labels = None if labels is None else np.asarray(labels)[:MAX_EXAMPLES]
    calibration = options.calibration
    if calibration is not None:
        try:
            calibration = check_model(
                model, class_names=class_names, examples=calibration, task=task
            )
        except ValueError as error:
            raise ValueError(str(error).replace("`examples`", "`calibration`")) from None

    readers, file_inputs = {}, inputs
    if text_input == "bytes":
        length = inputs["text"].shape[1]
        reader = text_reader(vocabulary, length=length, batch_size=options.batch_size)
        readers, num_bytes = {"text": reader}, reader.spec.shape[1]
        inputs, file_inputs = as_bytes(inputs, vocabulary, num_bytes=num_bytes)
        if calibration is not None:
            calibration = as_bytes(calibration, vocabulary, num_bytes=num_bytes)[1]
    calibration = calibration or file_inputs
    logits = keras_logits(model, inputs)
    check_logits(logits, case="the examples", task=task)

    content = convert(model, inputs, batch_size=options.batch_size, readers=readers, task=task)
    level, ladder = quantize or "float32", ()
    if level == AUTO:
        climbed = climb(
            content,
            calibration=calibration,
            inputs=file_inputs,
            logits=logits,
            labels=labels,
            max_accuracy_loss=options.max_accuracy_loss,
            task=task,
        )
        level, content, ladder = climbed.level, climbed.content, climbed.rungs
    else:
        content = quantized(content, level=level, examples=calibration, task=task)
    content = add_metadata(
        content,
        name=model.name,
        class_names=class_names,
        vocabulary=vocabulary,
        author=options.author,
        licence=options.licence,
        task=task,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unproved = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unproved.write_bytes(content)
        result = compare(
            model=model,
            run=TensorRunner(unproved.read_bytes()),
            inputs=inputs,
            file_inputs=file_inputs,
            labels=labels,
            batch_size=options.batch_size,
            logits=logits,
            exact=level == "float32",
            task=task,
        )
        milliseconds = latency_ms(unproved, file_inputs)
        os.replace(unproved, path)
    finally:
        unproved.unlink(missing_ok=True)
    return Export(
        file=str(path),
        bytes=len(content),
        latency_ms=milliseconds,
        max_abs_logit_difference=result.max_abs_logit_difference,
        top1_agreement=result.top1_agreement,
        num_examples=result.num_examples,
        accuracy=result.accuracy,
        keras_accuracy=result.keras_accuracy,
        quantize=level,
        batch_size=options.batch_size,
        text_input=text_input if "text" in inputs else None,
        ladder=tuple(asdict(rung) for rung in ladder),
        task=task,
    )


def _option_problems(
    model: keras.Model,
    examples: Mapping[str, np.ndarray],
    vocabulary: Sequence[str] | None,
    quantize: str | None,
    text_input: str,
) -> list[str]:
    problems = []
    if quantize not in (None, AUTO, *LEVELS):
        problems.append(
            f"`quantize`: None, '{AUTO}' or one of {', '.join(LEVELS)}. "
            f"Received: quantize={quantize!r}."
        )
    reads_text = any(tensor.name == "text" for tensor in getattr(model, "inputs", ()))
    if text_input not in ("ids", "bytes"):
        problems.append(f"`text_input`: 'ids' or 'bytes'. Received: text_input={text_input!r}.")
    elif text_input == "bytes" and not (reads_text and vocabulary is not None):
        problems.append(
            "`text_input`: 'bytes' only for a model with an input `text`, and with a vocabulary. "
            f"Received: vocabulary={'None' if vocabulary is None else 'given'}."
        )
    if vocabulary is None:
        return problems
    if not reads_text:
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


def _check_types(examples, options) -> None:
    """Refuses what the other checks could not even read."""
    if not isinstance(examples, Mapping):
        raise TypeError(
            "`examples`: a dict of arrays by input name, such as {'text': ids}. "
            f"Received: {type(examples).__name__}."
        )
    if not isinstance(options, TFLiteOptions):
        raise TypeError(
            f"`options`: mmkd_tf.export.TFLiteOptions(...). Received: {type(options).__name__}."
        )
    loss = options.max_accuracy_loss
    if not isinstance(loss, int | float) or not 0 <= loss <= 1:
        raise ValueError(
            f"`max_accuracy_loss`: a share from 0 to 1; 0.005 is half a point. Received: {loss!r}."
        )
    if not isinstance(options.calibration, Mapping | None):
        raise TypeError(
            "`calibration`: a dict of arrays by input name, as `examples`. "
            f"Received: {type(options.calibration).__name__}."
        )
