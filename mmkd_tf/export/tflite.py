"""Exports a Keras model as one TFLite file that any LiteRT interpreter runs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.export.calibrated import calibrated, temperature_problems
from mmkd_tf.export.contract import MAX_EXAMPLES, check_model, modalities_of
from mmkd_tf.export.convert import convert
from mmkd_tf.export.latency import latency_ms
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.export.parity import Export, check_logits, compare, keras_logits
from mmkd_tf.export.quantization import LEVELS, select_level
from mmkd_tf.export.quantization import quantize as quantized
from mmkd_tf.export.text_bytes import as_bytes, text_reader
from mmkd_tf.modalities.modality import Modality
from mmkd_tf.tasks import DEFAULT_TASK, TASKS, Task, find_task

AUTO = "auto"


@dataclass(frozen=True)
class TFLiteOptions:
    """What is seldom changed of a TFLite export.

    Attributes:
        batch_size: Number of examples that the file takes at a time; None for any.
        calibration: By input name, examples in tensor form to quantise with, of the training
            split; by default those that the file is compared on.
        max_accuracy_loss: What `quantize="auto"` may lose, as a share: 0.005 is half a point. Of
            other tasks, of their headline figure.
        author: Who made the model; kept in the file.
        licence: The model's licence; kept in the file.
        task: What the model is for, or its name; of retrieval one tower.
        temperature: What logits are divided by before they become probabilities, see
            `mmkd_tf.export.calibrated`; kept in the file. None leaves them as they are.
        threshold: Above which an answer says yes, such as the cosine of two embeddings of one
            identity; kept in the file. None is that of the task, if it has one.
        num_bytes: By name of a text that a file takes as bytes, how many, 1 to 32,768; see
            `mmkd_tf.export.text_bytes.needed_num_bytes`. By default room for words as long as the
            vocabulary's.
    """

    batch_size: int | None = 1
    calibration: Mapping[str, np.ndarray] | None = None
    max_accuracy_loss: float = 0.005
    author: str | None = None
    licence: str | None = None
    task: Task | str = DEFAULT_TASK
    temperature: float | None = None
    threshold: float | None = None
    num_bytes: Mapping[str, int] | None = None


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    examples: Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
    vocabulary: Sequence[str] | None = None,
    modalities: Mapping[str, Modality] | None = None,
    quantize: str | None = None,
    text_input: str = "ids",
    options: TFLiteOptions | None = None,
) -> Export:
    """Writes a model as a TFLite file with builtin operators only, and proves it.

    The file has the signature `serving_default`, inputs named as the model's, and the output
    `probabilities` (of regression `values`, of retrieval and embedding `embedding`), float32
    `[batch, num_classes]`. Labels, vocabularies and a description of the inputs are inside;
    `mmkd_tf.edge.Classifier` reads it, or of regression `Regressor`, of embeddings `Encoder`.
    Before it gets its name it is run on the examples, in two orders and with each input absent,
    and compared with Keras.

    Args:
        model: Functional model that gives logits; the softmax is added, or for several labels the
            sigmoid. It stays as it is.
        path: The file to write; one that exists is replaced. Missing folders are made.
        class_names: Name of each class, in the order of the model's outputs; of embeddings none.
        examples: By input name, examples in tensor form along the first axis, such as the
            validation split's; the first 500 are used. They fix the sizes that the model leaves
            open.
        labels: int `[n]`, the classes of the examples, to measure accuracy; of other tasks float
            `[n, num_classes]`, see `Examples.labels`; of retrieval the embeddings of the other
            input, to measure recall at 10 among them; of embedding int `[n]`, the identities.
        vocabulary: Words in the order of their ids, for a model that reads one text, where
            `modalities` does not say them. Without them the file takes token ids, but no text.
        modalities: By input name, what the inputs are, see `Dataset.modalities`; by default what
            fits their shapes and dtypes, such as pictures and texts.
        quantize: None keeps float32 weights. A level of `mmkd_tf.export.quantization.LEVELS` makes
            the file smaller. "auto" tries them all and takes the smallest file that agrees with
            Keras and keeps the accuracy.
        text_input: What the file takes of each text. "ids": token ids, int32 `[batch, length]`.
            "bytes": UTF-8, uint8 `[batch, num_bytes]`, zeros on the right; it has the tokenizer
            inside.
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
    found = modalities_of(model, examples) if modalities is None else dict(modalities)
    problems = []
    if quantize not in (None, AUTO, *LEVELS):
        problems.append(
            f"`quantize`: None, '{AUTO}' or one of {', '.join(LEVELS)}. "
            f"Received: quantize={quantize!r}."
        )
    if vocabulary is not None:
        problems += _add_vocabulary(found, vocabulary, given=modalities is not None)
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    found = {name: found[name] for name in names if name in found}
    texts = {name: one for name, one in found.items() if one.takes_utf8}
    problems += _text_problems(texts, examples, vocabulary, text_input)
    problems += _label_problems(examples, labels, len(class_names), options.task)
    problems += temperature_problems(options.temperature, options.task)
    about: dict[str, Any] = {"class_names": class_names, "task": options.task}
    inputs = check_model(
        model, examples=examples, modalities=modalities, problems=problems, **about
    )
    task, model = find_task(options.task), calibrated(model, options.temperature)
    labels = None if labels is None else np.asarray(labels)[:MAX_EXAMPLES]
    calibration = options.calibration
    if calibration is not None:
        try:
            calibration = check_model(model, examples=calibration, modalities=modalities, **about)
        except ValueError as error:
            raise ValueError(str(error).replace("`examples`", "`calibration`")) from None

    readers, file_inputs = {}, dict(inputs)
    for name, text in texts.items() if text_input == "bytes" else ():
        readers[name] = text_reader(
            text.vocabulary,
            length=text.length,
            num_bytes=(options.num_bytes or {}).get(name),
            batch_size=options.batch_size,
        )
        num_bytes = readers[name].spec.shape[1]
        inputs[name], file_inputs[name] = as_bytes(inputs[name], text, num_bytes=num_bytes)
        if calibration is not None:
            calibration[name] = as_bytes(calibration[name], text, num_bytes=num_bytes)[1]
    calibration = calibration or file_inputs
    logits = keras_logits(model, inputs)
    # As the model itself gives them: probabilities that are divided no longer look like any.
    check_logits(logits * (options.temperature or 1), case="the examples", task=task)

    content = convert(model, inputs, batch_size=options.batch_size, readers=readers, task=task)
    level, ladder = quantize or "float32", ()
    if level == AUTO:
        chosen = select_level(
            content,
            calibration=calibration,
            inputs=file_inputs,
            logits=logits,
            labels=labels,
            max_accuracy_loss=options.max_accuracy_loss,
            task=task,
        )
        level, content, ladder = chosen.level, chosen.content, chosen.results
    else:
        content = quantized(content, level=level, examples=calibration, task=task)
    content = add_metadata(
        content,
        name=model.name,
        class_names=class_names,
        modalities=found,
        author=options.author,
        licence=options.licence,
        task=task,
        temperature=options.temperature,
        threshold=options.threshold,
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
        text_input=text_input if texts else None,
        ladder=tuple(asdict(result) for result in ladder),
        task=task.name,
    )


def _add_vocabulary(
    found: dict[str, Modality], vocabulary: Sequence[str], *, given: bool
) -> list[str]:
    """Gives the one text among the inputs its vocabulary, or says why that is not possible."""
    texts = [name for name, modality in found.items() if modality.takes_utf8]
    received = f"Received: {len(vocabulary)} words."
    if given:
        return [f"`vocabulary`: None beside `modalities`, which have theirs. {received}"]
    if len(texts) != 1:
        more = f"Of the texts {texts} give `modalities`." if texts else "Leave it out."
        return [f"`vocabulary`: None for a model that does not read one text. {received} {more}"]
    try:
        text: Any = found[texts[0]]
        found[texts[0]] = type(text)(text.name, vocabulary=vocabulary, length=text.length)
    except ValueError as error:
        return [str(error)]
    return []


def _text_problems(
    texts: Mapping[str, Modality],
    examples: Mapping[str, np.ndarray],
    vocabulary: Sequence[str] | None,
    text_input: str,
) -> list[str]:
    """Says what is wrong with the vocabularies of texts, and with `text_input`."""
    problems = []
    words = {name: text.vocabulary or vocabulary for name, text in texts.items()}
    known = {name: vocabulary for name, vocabulary in words.items() if vocabulary is not None}
    if text_input not in ("ids", "bytes"):
        problems.append(f"`text_input`: 'ids' or 'bytes'. Received: text_input={text_input!r}.")
    elif text_input == "bytes" and (not texts or len(known) < len(texts)):
        problems.append(
            "`text_input`: 'bytes' only for a model that reads a text, and with its vocabulary. "
            f"Received: {f'no vocabulary of {list(texts)}' if texts else 'a model without one'}."
        )
    for name, vocabulary in known.items():
        problems += unfit_words(vocabulary)
        largest = np.max(examples[name], initial=0) if name in examples else 0
        if largest >= len(vocabulary):
            problems.append(
                f"`vocabulary`: a word for each token id of {name}. Received: {len(vocabulary)} "
                f"words, ids up to {largest}. Give the vocabulary that the examples were made with."
            )
    return problems


def unfit_words(vocabulary: Sequence[str]) -> list[str]:
    """Says why a file can't hold a vocabulary."""
    if any("\n" in word or "\r" in word for word in vocabulary):
        return [
            "`vocabulary`: words without line breaks, as vocab.txt holds one a line. "
            "Make it with mmkd_tf.edge.tokenizer.build_vocabulary()."
        ]
    return []


def _label_problems(examples, labels, num_outputs, task) -> list[str]:
    """Says what is wrong with the labels of examples."""
    if labels is None or not (isinstance(task, Task) or task in TASKS):
        return []
    given = np.asarray(labels)
    problems = find_task(task).label_problems(given, num_outputs)
    sizes = {name: len(values) for name, values in examples.items()}
    if given.ndim and any(size != len(given) for size in sizes.values()):
        problems.insert(0, f"`labels`: one for each example, {sizes}. Received: {len(given)}.")
    return problems


def _check_types(examples, options) -> None:
    """Refuses what the other checks could not even read."""
    if not isinstance(options, TFLiteOptions):
        raise TypeError(
            f"`options`: mmkd_tf.export.TFLiteOptions(...). Received: {type(options).__name__}."
        )
    calibration = {} if options.calibration is None else options.calibration
    for name, given in (("examples", examples), ("calibration", calibration)):
        if not isinstance(given, Mapping):
            raise TypeError(
                f"`{name}`: a dict of arrays by input name, such as {{'photo': pixels}}. "
                f"Received: {type(given).__name__}."
            )
    loss = options.max_accuracy_loss
    if not isinstance(loss, int | float) or not 0 <= loss <= 1:
        raise ValueError(
            f"`max_accuracy_loss`: a share from 0 to 1; 0.005 is half a point. Received: {loss!r}."
        )
