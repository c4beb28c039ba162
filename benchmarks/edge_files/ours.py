"""This project's files of a model, and the examples on which all files are measured."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from edge_files.rounds import REAL, ModelFile
from keras import layers

from mmkd_tf.export.convert import convert
from mmkd_tf.export.quantization import LEVELS, quantize
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.builder import build_student
from mmkd_tf.models.seeding import seeded
from mmkd_tf.tasks import DEFAULT_TASK, Task

OURS = "float32"
TEXT_BRANCH = "text branch, float32"
FIVE, HALF, FULL = "5 words", "half", "full"

_NUM_WORDS = (1, 10)
# What converter and quantizer raise where a model is not for them.
_REFUSALS = (ImportError, ValueError, RuntimeError)


def export_ours(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    folder: Path,
    *,
    task: Task | str = DEFAULT_TASK,
) -> tuple[list[ModelFile], dict[str, str]]:
    """Writes the TFLite files of all levels, and the branch of the first text by itself.

    They are without labels and vocabulary, as those of others are.

    Args:
        model: Functional model that gives logits.
        inputs: By input name, examples in tensor form; they calibrate the quantised files.
        folder: Where they go.
        task: What the model is for.

    Returns:
        The files, float32 first, and by name of those that there are not, why.

    Raises:
        NotImplementedError: If the model needs an operator that TFLite lacks.
    """
    content = convert(model, inputs, task=task)
    files, absent = [_write(folder, OURS, content)], {}
    for level in LEVELS:
        if level == OURS:
            continue
        try:
            quantized = quantize(content, level=level, examples=inputs, task=task)
        except _REFUSALS as error:  # the float32 file is still worth measuring
            absent[level] = f"{type(error).__name__}: {error}"
        else:
            files.append(_write(folder, level, quantized))
    for name in _texts(inputs)[:1]:
        branch = _branch(model, name)
        if branch is None:
            absent[TEXT_BRANCH] = f"the model has no layer '{name}_features' of the text alone"
        else:
            files.append(_write(folder, TEXT_BRANCH, convert(branch, {name: inputs[name]})))
    return files, absent


def _texts(inputs: Mapping) -> list[str]:
    """Names of the inputs, arrays or symbolic, that are token ids: integers in rows."""
    return [
        name
        for name, values in inputs.items()
        if len(values.shape) == 2 and str(values.dtype).startswith("int")
    ]


def _branch(model: keras.Model, name: str) -> keras.Model | None:
    """The model from one input to its features, `[batch, dim]`; None if it has none."""
    (tensor,) = (tensor for tensor in model.inputs if tensor.name == name)
    try:
        features = model.get_layer(f"{name}_features").output
        branch = keras.Model({name: tensor}, features)
    except ValueError:  # no such layer, or one that needs other inputs
        return None
    return branch if len(features.shape) == 2 else None


def _write(folder: Path, name: str, content: bytes) -> ModelFile:
    path = folder / f"{name.replace(', ', '_').replace(' ', '_')}.tflite"
    path.write_bytes(content)
    return ModelFile(name, path, "litert")


def random_student(*, seed: int) -> keras.Model:
    """Builds the default student with random weights: 64 x 64 pixels, 32 of 2,000 words, 9 classes.

    Fresh weights would give logits of nearly zero, whatever the input: then no file could be told
    from another by its answers. So noise is added to all of them, running variances included.
    """
    words = ["<pad>", "<unk>", *(f"word{index}" for index in range(1998))]
    modalities = {"image": Image(height=64), "text": Text(vocabulary=words, length=32)}
    dataset = SimpleNamespace(modalities=modalities, num_classes=9)
    # Without the dropout of inputs, which does nothing here but hides the text's branch.
    student = seeded(build_student(dataset, modality_dropout=0), seed=seed)
    rng = np.random.default_rng(seed)
    for variable in student.weights:
        is_variance = variable.path.endswith("moving_variance")
        noise = np.abs if is_variance else np.asarray
        variable.assign_add(0.2 * noise(rng.normal(size=variable.shape)))
    return student


def random_examples(model: keras.Model, *, seed: int, number: int = 200) -> dict[str, np.ndarray]:
    """Makes noise for pictures, and texts of 1 to 10 words, each length as often as another.

    Args:
        model: Functional model without open sizes but that of the batch.
        seed: Seed of the examples.
        number: How many.

    Raises:
        ValueError: If the model leaves sizes open.
    """
    tensors = getattr(model, "inputs", None) or ()
    open_sizes = {tensor.name: list(tensor.shape) for tensor in tensors if None in tensor.shape[1:]}
    if open_sizes:
        raise ValueError(
            "`examples`: needed for a model that leaves sizes open. "
            f"Received: none, for inputs of shape {open_sizes}."
        )
    rng = np.random.default_rng(seed)
    examples, texts = {}, _texts({tensor.name: tensor for tensor in tensors})
    for tensor in tensors:
        shape = (number, *tensor.shape[1:])
        if tensor.name in texts:
            tables = [x for x in model._flatten_layers() if isinstance(x, layers.Embedding)]
            num_ids = min((table.input_dim for table in tables), default=2)
            lengths = rng.integers(_NUM_WORDS[0], _NUM_WORDS[1] + 1, [number, 1])
            values = rng.integers(1, max(num_ids, 2), shape) * (np.arange(shape[1]) < lengths)
        else:
            values = rng.integers(0, 256, shape)
        examples[tensor.name] = values.astype(tensor.dtype)
    return examples


def cases_of(
    examples: Mapping[str, np.ndarray], *, number: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Chooses what to measure on.

    Args:
        examples: By input name, examples in tensor form along the first axis.
        number: How many examples a case has; fewer if there are fewer.
        seed: Seed of the choice and of the words of made texts.

    Returns:
        By case, `number` examples: texts of 5 words, of half and of full length, made of the
        words of `examples`, and examples as they are; the last alone where there are no texts.
    """
    rng = np.random.default_rng(seed)
    total = len(next(iter(examples.values())))
    chosen = rng.choice(total, min(number, total), replace=False)
    real = {name: values[chosen] for name, values in examples.items()}
    texts = _texts(real)
    if not texts:
        return {REAL: real}
    cases = {}
    for case, words_of in (
        (FIVE, lambda length: min(5, length)),
        (HALF, lambda length: max(1, length // 2)),
        (FULL, lambda length: length),
    ):
        made = {}
        for name in texts:
            shape, dtype = real[name].shape, real[name].dtype
            words = examples[name][examples[name] > 0]
            ids = rng.choice(words, shape) if words.size else np.ones(shape)
            made[name] = np.where(np.arange(shape[1]) < words_of(shape[1]), ids, 0).astype(dtype)
        cases[case] = {**real, **made}
    return {**cases, REAL: real}


def count_words(
    cases: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, int | float]]:
    """The `least`, `mean` and `greatest` number of words in a text, by case; none without texts."""
    found = {}
    for case, inputs in cases.items():
        counts = [np.count_nonzero(inputs[name], axis=1) for name in _texts(inputs)]
        if counts:
            all_counts = np.concatenate(counts)
            found[case] = {
                "least": int(all_counts.min()),
                "mean": float(all_counts.mean()),
                "greatest": int(all_counts.max()),
            }
    return found
