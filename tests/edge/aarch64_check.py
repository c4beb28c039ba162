"""Compares the answers of one .tflite file on two kinds of processor; see aarch64.sh.

    python aarch64_check.py make FOLDER            small models to try it with; needs TensorFlow
    python aarch64_check.py write FILE ANSWERS     runs examples here and keeps tensors and answers
    python aarch64_check.py check FILE ANSWERS     runs them again and compares

All but `make` need nothing but NumPy and the interpreter.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.model_file import read_model_file

NUM_EXAMPLES = 60
LARGEST_DIFFERENCE = 1e-4  # of a probability
SIGNATURE, OUTPUT = "serving_default", "probabilities"


def make(folder: Path) -> None:
    """Writes a model of pictures and texts with random weights in several forms."""
    import keras
    from keras import layers

    from mmkd_tf.export.tflite import export_tflite

    keras.utils.set_random_seed(5)
    image = keras.Input([32, 32, 3], dtype="uint8", name="image")
    text = keras.Input([12], dtype="int32", name="text")
    x = layers.Rescaling(1 / 127.5, -1)(image)
    for width in (16, 32, 64):
        x = layers.SeparableConv2D(width, 3, 2, "same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    y = layers.Embedding(300, 32, "normal", mask_zero=True)(text)
    y = layers.Bidirectional(layers.LSTM(32))(y)
    logits = layers.Dense(10, kernel_initializer="normal")(layers.Concatenate()([20 * x, 20 * y]))
    rng = np.random.default_rng(0)
    examples = {
        "image": rng.integers(0, 256, [200, 32, 32, 3]).astype("uint8"),
        "text": rng.integers(0, 300, [200, 12]).astype("int32"),
    }
    forms = {
        "float32": {},
        "dynamic": {"quantize": "dynamic"},
        "mixed": {"quantize": "mixed"},
        "mixed_bytes": {"quantize": "mixed", "text_input": "bytes"},
    }
    for name, form in forms.items():
        export_tflite(
            keras.Model({"image": image, "text": text}, 10 * logits),
            folder / f"{name}.tflite",
            class_names=[f"class {i}" for i in range(10)],
            vocabulary=["<pad>", "<unk>", *(f"word{i}" for i in range(298))],
            examples=examples,
            **form,
        )


def write(path: Path, answers: Path) -> None:
    """Runs examples and keeps them, by input name, with the answers."""
    vocabulary = read_model_file(path).vocabulary or ["red", "cup", "tea"]
    rng = np.random.default_rng(0)
    tensors = {
        name: np.stack([_values(rng, shape[1:], dtype, vocabulary) for _ in range(NUM_EXAMPLES)])
        for name, (shape, dtype) in TensorRunner(path.read_bytes()).inputs.items()
    }
    for i, name in enumerate(tensors):
        if len(tensors) > 1:  # some examples lack one input
            tensors[name][i :: 3 * len(tensors)] = 0
    np.savez(answers, answers=_run(path, tensors), simple=_run_simply(path, tensors), **tensors)


def check(path: Path, answers: Path) -> None:
    """Runs the kept examples; ends the process with 1 if an answer is another.

    In floating point the bound is `LARGEST_DIFFERENCE`. Integer kernels round differently on
    different processors; that must not matter more than twice what it matters on one machine
    whether the interpreter's simple kernels run or those that it prefers (XNNPACK).
    """
    with np.load(answers) as kept:
        names = set(kept.files) - {"answers", "simple"}
        tensors = {name: kept[name] for name in names}
        expected, simple = kept["answers"], kept["simple"]
    bound = max(LARGEST_DIFFERENCE, 2 * np.abs(expected - simple).max())
    fine = [
        _is_same(f"{path.name}, simple kernels", _run_simply(path, tensors), simple, bound),
        _is_same(f"{path.name}, XNNPACK", _run(path, tensors), expected, bound),
    ]
    if not all(fine):
        sys.exit("The answers are not the same.")


def _is_same(name: str, found: np.ndarray, expected: np.ndarray, bound: float) -> bool:
    difference = np.abs(found - expected).max()
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    second, first = np.sort(expected, axis=1)[:, -2:].T
    print(  # noqa: T201
        f"{name}: {len(found)} examples, largest difference of a probability {difference:.1e} "
        f"(bound {bound:.1e}), same first class {same.sum()}"
    )
    return bool(difference <= bound and np.all(same | (first - second <= 2 * bound)))


def _values(rng, shape, dtype, vocabulary) -> np.ndarray:
    """A picture, token ids, or a text as UTF-8 bytes."""
    if len(shape) > 1:
        corners = rng.uniform(0, 256, [4, 4, shape[-1]])
        rows, columns = (np.arange(size) * 4 // size for size in shape[:2])
        noise = rng.normal(0, 10, shape)
        return np.clip(corners[rows][:, columns] + noise, 0, 255).astype(dtype)
    values = np.zeros(shape, dtype)
    if dtype == np.uint8:
        text = " ".join(rng.choice(vocabulary[-200:], 6)).encode()[: shape[0]]
        values[: len(text)] = np.frombuffer(text, np.uint8)
    else:
        length = rng.integers(1, shape[0] + 1)
        values[:length] = rng.integers(1, len(vocabulary), length)
    return values


def _run(path: Path, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Runs examples one by one: `[n, num_classes]`."""
    runner = TensorRunner(path.read_bytes())
    return np.stack([np.reshape(runner(row), [-1]) for row in _rows(tensors)])


def _run_simply(path: Path, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The same without XNNPACK."""
    interpreter = Interpreter(
        model_content=path.read_bytes(),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = interpreter.get_signature_runner(SIGNATURE)
    return np.stack([np.array(runner(**row)[OUTPUT][0]) for row in _rows(tensors)])


def _rows(tensors: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [
        {name: values[i : i + 1] for name, values in tensors.items()} for i in range(NUM_EXAMPLES)
    ]


if __name__ == "__main__":
    {"make": make, "write": write, "check": check}[sys.argv[1]](*map(Path, sys.argv[2:]))
