"""all-MiniLM-L6-v2: six layers of a transformer over English word pieces.

References:
    W. Wang and others, "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
    Pre-Trained Transformers", 2020.
    N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
    2019.
"""

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from mmkd_tf.backbones.backbone import Backbone
from mmkd_tf.backbones.checkpoint import check_shapes, read_safetensors, weights_digest
from mmkd_tf.backbones.encoder import TextEncoder

CODE_VERSION = 1  # raise it with a change of what is computed

NUM_LAYERS, NUM_HEADS, DIM, HIDDEN_DIM = 6, 12, 384, 1536
VOCABULARY_SIZE, LONGEST = 30_522, 256
EPSILON = 1e-12
_EMBEDDINGS = {"word": VOCABULARY_SIZE, "position": 512, "token_type": 2}
_PARTS = {  # by the checkpoint's name in a layer, what goes in and what comes out
    "attention.self.query": (DIM, DIM),
    "attention.self.key": (DIM, DIM),
    "attention.self.value": (DIM, DIM),
    "attention.output.dense": (DIM, DIM),
    "intermediate.dense": (DIM, HIDDEN_DIM),
    "output.dense": (HIDDEN_DIM, DIM),
}
_NORMS = (
    "embeddings.LayerNorm",
    *(
        f"encoder.layer.{layer}.{part}.LayerNorm"
        for layer in range(NUM_LAYERS)
        for part in ("attention.output", "output")
    ),
)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {f"embeddings.{key}_embeddings.weight": (n, DIM) for key, n in _EMBEDDINGS.items()}
    shapes |= {f"{norm}.{part}": (DIM,) for norm in _NORMS for part in ("weight", "bias")}
    for layer in range(NUM_LAYERS):
        for part, (before, after) in _PARTS.items():
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (after, before)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (after,)
    return shapes


def load(backbone: Backbone, files: dict[str, Path]) -> TextEncoder:
    """Makes the encoder; see `Backbone.load`."""
    weights = read_safetensors(files["model.safetensors"])
    check_shapes(_shapes(), weights, name=backbone.name)
    vocabulary = files["vocab.txt"].read_text(encoding="utf-8").splitlines()
    if len(vocabulary) != VOCABULARY_SIZE:
        raise ValueError(
            f"`{backbone.name}`: a vocabulary of {VOCABULARY_SIZE} pieces, as the table has. "
            f"Received: {len(vocabulary)}. Get {backbone.name} anew."
        )
    pieces = WordPieces(vocabulary)
    inputs = keras.Input([None], dtype="int32", name=f"{backbone.name}_ids")
    outputs = BertEncoder(weights, name=f"{backbone.name}_features")(inputs)
    model = keras.Model(inputs, outputs, name=backbone.name)
    model.trainable = False
    return TextEncoder(
        backbone,
        model,
        version=f"{weights_digest(weights)} {CODE_VERSION}",
        tokenize=lambda texts: [pieces(text, longest=LONGEST) for text in texts],
        vocabulary=lambda: (piece for piece in vocabulary if not piece.startswith("##")),
        max_tokens=LONGEST,
    )


@keras.saving.register_keras_serializable("mmkd_tf")
class BertEncoder(layers.Layer):
    """Piece ids, int32 `[batch, length]` filled with 0, to the mean of what the last layer says.

    Args:
        weights: By the names of the checkpoint. None to load them from a saved model.
        **arguments: Those of a Keras layer.
    """

    def __init__(self, weights: dict[str, np.ndarray] | None = None, **arguments):
        super().__init__(**arguments)
        self._given = weights

    def build(self, input_shape):
        kept = {}
        for key, shape in _shapes().items():
            given = self._given and self._given[key]
            initializer = "zeros" if given is None else _as_given(given)
            kept[key] = self.add_weight(
                shape=shape, initializer=initializer, trainable=False, name=key.replace(".", "_")
            )
        self._kept, self._given = kept, None

    def call(self, ids):
        mask = ops.cast(ids > 0, "float32")
        table = {key: self._kept[f"embeddings.{key}_embeddings.weight"] for key in _EMBEDDINGS}
        x = ops.take(table["word"], ids, axis=0) + table["token_type"][0]
        x = self._norm(x + table["position"][: ops.shape(ids)[1]], "embeddings.LayerNorm")
        hidden = (mask - 1.0)[:, None, None, :] * 1e9
        for layer in range(NUM_LAYERS):
            name = f"encoder.layer.{layer}"
            heads = [
                self._heads(x, f"{name}.attention.self.{q}") for q in ("query", "key", "value")
            ]
            scores = ops.matmul(heads[0], ops.transpose(heads[1], [0, 1, 3, 2]))
            scores = ops.softmax(scores / math.sqrt(DIM // NUM_HEADS) + hidden)
            seen = ops.transpose(ops.matmul(scores, heads[2]), [0, 2, 1, 3])
            seen = self._dense(ops.reshape(seen, ops.shape(x)), f"{name}.attention.output.dense")
            x = self._norm(x + seen, f"{name}.attention.output.LayerNorm")
            y = ops.gelu(self._dense(x, f"{name}.intermediate.dense"), approximate=False)
            x = self._norm(x + self._dense(y, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        count = ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
        return ops.sum(x * mask[..., None], axis=1) / count

    def compute_output_shape(self, input_shape):
        return (input_shape[0], DIM)

    def _dense(self, x, name: str):
        weight, bias = self._kept[f"{name}.weight"], self._kept[f"{name}.bias"]
        return ops.matmul(x, ops.transpose(weight)) + bias

    def _heads(self, x, name: str):
        """`[batch, heads, length, dim of a head]`."""
        batch, length, _ = ops.shape(x)
        x = ops.reshape(self._dense(x, name), [batch, length, NUM_HEADS, DIM // NUM_HEADS])
        return ops.transpose(x, [0, 2, 1, 3])

    def _norm(self, x, name: str):
        x = x - ops.mean(x, axis=-1, keepdims=True)
        x = x / ops.sqrt(ops.mean(x * x, axis=-1, keepdims=True) + EPSILON)
        return x * self._kept[f"{name}.weight"] + self._kept[f"{name}.bias"]


def _as_given(values: np.ndarray):
    return lambda shape, dtype: ops.convert_to_tensor(values, dtype)


class WordPieces:
    """BERT's tokenizer for text without case and accents.

    Args:
        vocabulary: Pieces in the order of their ids; those that go on in a word begin with `##`.

    Examples:
        >>> pieces = WordPieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "caf", "##e", "!"])
        >>> pieces("Café!", longest=8)
        [2, 4, 5, 6, 3]
    """

    def __init__(self, vocabulary: Sequence[str]):
        self._ids = {piece: index for index, piece in enumerate(vocabulary)}
        self._unknown, self._first, self._last = (
            self._ids[piece] for piece in ("[UNK]", "[CLS]", "[SEP]")
        )

    def __call__(self, text: str, *, longest: int) -> list[int]:
        """Gives the ids of a text, `[CLS]` and `[SEP]` about them, at most `longest`."""
        ids = [self._first]
        for word in _bert_words(text):
            ids += self._of_word(word)
            if len(ids) >= longest:
                break
        return [*ids[: longest - 1], self._last]

    def _of_word(self, word: str) -> list[int]:
        """The longest piece that fits, then the longest one for the rest, and so on."""
        ids, start = [], 0
        while start < len(word) <= 100:
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                if piece in self._ids:
                    ids.append(self._ids[piece])
                    start = end
                    break
            else:
                return [self._unknown]
        return ids or [self._unknown]


def _bert_words(text: str) -> list[str]:
    """Lower case without accents; ideographs and punctuation are words of their own."""
    signs = []
    for sign in text:
        category = unicodedata.category(sign)
        if sign in "\t\n\r" or category == "Zs":
            signs.append(" ")
        elif category[0] != "C" and sign != "\ufffd":
            signs.append(f" {sign} " if _is_ideograph(ord(sign)) else sign)
    folded = unicodedata.normalize("NFD", "".join(signs)).lower()
    return "".join(
        f" {sign} " if _is_punctuation(sign) else sign
        for sign in folded
        if unicodedata.category(sign) != "Mn"
    ).split()


def _is_ideograph(code_point: int) -> bool:
    return (
        0x3400 <= code_point <= 0x4DBF
        or 0x4E00 <= code_point <= 0x9FFF
        or 0xF900 <= code_point <= 0xFAFF
        or 0x20000 <= code_point <= 0x2CEAF
        or 0x2F800 <= code_point <= 0x2FA1F
    )


def _is_punctuation(sign: str) -> bool:
    if sign.isascii():
        return not sign.isalnum() and sign.isprintable() and sign != " "
    return unicodedata.category(sign)[0] == "P"
