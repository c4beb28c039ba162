"""How large exported students that inherit are, by size and level, and where the bytes are.

Run it with `python benchmarks/sizes.py`, or `--level float16 --level dynamic`; it takes some two
minutes on a quiet machine. The students are untrained, as bytes follow from shapes: they read 2,000
training words, the most that a run keeps by default, and pictures of 64 pixels, and tell 9 classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import typer
from ai_edge_litert import schema_py_generated as schema

from mmkd_tf.backbones import find_backbone
from mmkd_tf.edge.tokenizer import PAD, UNKNOWN
from mmkd_tf.export.convert import convert
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.export.quantization import LEVELS, quantize
from mmkd_tf.export.quantization.graph import Operator, code_of
from mmkd_tf.export.tflite_tables import read_tables
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.builder import build_student
from mmkd_tf.models.inheritance import (
    LARGEST_FILES,
    SIZES,
    Inheritance,
    Source,
    inherited_encoders,
    inherited_forms,
)
from mmkd_tf.quiet import quiet_tensorflow

NUM_TRAINING_WORDS, NUM_CLASSES, LENGTH, PIXELS = 2_000, 9, 16, 64
_NUM_EXAMPLES, _FEATURES = 8, 64
_BYTES_A_SCALE = 12  # a scale and a zero point
PARTS = ("word table", "word list", "picture", "other layers", "scales", "structure")


@dataclass(frozen=True, eq=False)
class Words:
    """A text encoder whose features are noise, as sizes do not depend on them."""

    known: list[str]

    def words(self) -> list[str]:
        """All words, frequent ones first."""
        return self.known

    def features(self, words: Iterable[str]) -> np.ndarray:
        """float32 `[n, 64]`."""
        return np.random.default_rng(0).normal(size=(len(words), _FEATURES)).astype(np.float32)


def main(
    level: Annotated[list[str] | None, typer.Option(help="Levels to try.")] = None,
) -> None:
    """Prints a line for each size and level: KiB of the file, its bound, and its parts."""
    quiet_tensorflow()
    image = find_backbone("efficientnet_lite0").load()
    text = Words(find_backbone("use_multilingual").load().words())
    columns = ["size", "level", "KiB", "at most", *PARTS]
    typer.echo("".join(f"{name:>14}" for name in columns))
    for name, size in SIZES.items():
        for tried, parts in file_parts(size, level or LEVELS, image=image, text=text).items():
            kib = [f"{sum(parts.values()) / 1024:.1f}", str(LARGEST_FILES[name])]
            kib += [f"{parts[part] / 1024:.1f}" for part in PARTS]
            typer.echo("".join(f"{value:>14}" for value in (name, tried, *kib)))


def file_parts(
    size: Inheritance, levels: Iterable[str], *, image, text
) -> dict[str, dict[str, int]]:
    """Exports an untrained student at some levels.

    Args:
        size: How much the student takes over.
        levels: Some of `mmkd_tf.export.quantization.LEVELS`.
        image: A loaded backbone of pictures, with `first_blocks` and `block_count`.
        text: A loaded backbone of texts, with `words` and `features`.

    Returns:
        By level, bytes of the file by `PARTS`: words as numbers and as a list, weights of the
        picture's and of other layers, scales of 8-bit weights, and all else.
    """
    # As in training texts of one language, whose letters inherited words must have.
    own = [PAD, UNKNOWN, *(word for word in text.words() if word.isascii() and word.isalpha())]
    own = own[:NUM_TRAINING_WORDS]
    modalities = {"image": Image(height=PIXELS), "text": Text(vocabulary=own, length=LENGTH)}
    sources = {"image": Source(image), "text": Source(text)}
    modalities |= inherited_forms(modalities, sources, size)
    encoders = inherited_encoders(modalities, sources, size, seed=0)
    dataset = SimpleNamespace(modalities=modalities, num_classes=NUM_CLASSES)
    student = build_student(dataset, encoders=encoders)
    rng = np.random.default_rng(0)
    examples = {
        "image": rng.integers(1, 256, [_NUM_EXAMPLES, PIXELS, PIXELS, 3]).astype(np.uint8),
        "text": rng.integers(2, len(own), [_NUM_EXAMPLES, LENGTH]).astype(np.int32),
    }
    content = convert(student, examples)
    names = [f"class {number}" for number in range(NUM_CLASSES)]
    found = {}
    for level in levels:
        made = quantize(content, level=level, examples=examples)
        file = add_metadata(made, name="student", class_names=names, modalities=modalities)
        found[level] = _parts(made, file)
    return found


def _parts(model: bytes, file: bytes) -> dict[str, int]:
    """Where the bytes of a file are, of which `model` is what it was before words came in."""
    tables = read_tables(model)
    parts = dict.fromkeys(PARTS, 0)
    for graph in tables.subgraphs:
        uses = _uses(tables, graph)
        for index, tensor in enumerate(graph.tensors):
            data, stored = tables.buffers[tensor.buffer].data, tensor.quantization
            parts[uses.get(index, "other layers")] += 0 if data is None else len(data)
            if stored is not None and stored.scale is not None:
                parts["scales"] += _BYTES_A_SCALE * len(stored.scale)
    parts["word list"] = len(file) - len(model)
    parts["structure"] = len(file) - sum(parts.values())
    return parts


def _uses(model: schema.ModelT, graph: schema.SubGraphT) -> dict[int, str]:
    """What the constants of a graph are for, by tensor."""
    kinds = {
        Operator.EMBEDDING_LOOKUP: "word table",
        Operator.GATHER: "word table",
        Operator.CONV_2D: "picture",
        Operator.DEPTHWISE_CONV_2D: "picture",
    }
    uses = {}
    for operator in reversed(graph.operators):  # weights in half precision are turned back first
        code = code_of(model, operator)
        use = uses.get(operator.outputs[0]) if code == Operator.DEQUANTIZE else kinds.get(code)
        if use:
            uses |= {int(index): use for index in operator.inputs}
    return uses


if __name__ == "__main__":
    typer.run(main)
