"""Examples for the benchmark: texts of chosen lengths, and of those that real texts have."""

from collections.abc import Mapping
from types import SimpleNamespace

import keras
import numpy as np
from keras import layers

from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.classifier import build_student
from mmkd_tf.models.seeding import seeded

FIVE, HALF, FULL, REAL = "5 words", "half", "full", "real lengths"

_NUM_WORDS = (1, 10)


def random_student(*, seed: int) -> keras.Model:
    """Builds the default student with random weights: 64 x 64 pixels, 32 of 2,000 words, 9 classes.

    Fresh weights would give logits of nearly zero, whatever the input: then no file could be told
    from another by its answers. So noise is added to all of them, running variances included.
    """
    words = ["<pad>", "<unk>", *(f"word{index}" for index in range(1998))]
    task = SimpleNamespace(modalities={"image": Image(64), "text": Text(words, 32)}, num_classes=9)
    student = seeded(build_student(task), seed=seed)
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
    examples = {}
    for tensor in tensors:
        shape = (number, *tensor.shape[1:])
        if tensor.name == "text":
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
    if "text" not in real:
        return {REAL: real}
    text = real["text"]
    length = text.shape[1]
    words = examples["text"][examples["text"] > 0]
    cases = {}
    for case, num_words in ((FIVE, min(5, length)), (HALF, max(1, length // 2)), (FULL, length)):
        ids = rng.choice(words, text.shape) if words.size else np.ones(text.shape)
        made = np.where(np.arange(length) < num_words, ids, 0).astype(text.dtype)
        cases[case] = {**real, "text": made}
    return {**cases, REAL: real}
