"""WordLlama: a static vector for each piece of a large language model's vocabulary, averaged.

Quick and small, and weaker than the other encoders. The pieces are byte pairs: a text begins as
single characters, and the pair that was merged first when the vocabulary was made is joined first.

References:
    D. L. Miller, "WordLlama: Recycled Token Embeddings from Large Language Models", 2024.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from mmkd_tf.backbones.backbone import Backbone
from mmkd_tf.backbones.checkpoint import check_shapes, read_safetensors
from mmkd_tf.backbones.encoder import TextEncoder

CODE_VERSION = 1  # raise it with a change of what is computed

NUM_PIECES, DIM = 32_000, 256
WORD_MARK = "\u2581"  # begins a piece that begins a word
_TABLE = "embedding.weight"


def load(backbone: Backbone, files: dict[str, Path]) -> TextEncoder:
    """Makes the encoder; see `Backbone.load`."""
    tokenizer = json.loads(files["l2_supercat_tokenizer_config.json"].read_text(encoding="utf-8"))
    ids = tokenizer["model"]["vocab"]
    weights = read_safetensors(files["l2_supercat_256.safetensors"])
    check_shapes({_TABLE: (NUM_PIECES, DIM)}, weights, name=backbone.name)
    if sorted(ids.values()) != list(range(NUM_PIECES)):
        raise ValueError(
            f"`{backbone.name}`: a tokenizer of {NUM_PIECES} pieces, as the table has. Received: "
            f"{len(ids)}. Get {backbone.name} anew."
        )
    pairs = BytePairs(ids, tokenizer["model"]["merges"])
    # Row 0 is for where a text has ended.
    table = np.pad(weights[_TABLE].astype(np.float32), [(1, 0), (0, 0)])
    inputs = keras.Input([None], dtype="int32", name=f"{backbone.name}_ids")
    embedding = layers.Embedding(
        NUM_PIECES + 1,
        DIM,
        embeddings_initializer=lambda shape, dtype: ops.convert_to_tensor(table, dtype),
        name=f"{backbone.name}_pieces",
    )
    count = ops.sum(ops.cast(inputs > 0, "float32"), axis=1, keepdims=True)
    outputs = ops.sum(embedding(inputs), axis=1) / ops.maximum(count, 1.0)
    model = keras.Model(inputs, outputs, name=backbone.name)
    model.trainable = False
    return TextEncoder(
        backbone,
        model,
        version=f"{hashlib.sha256(table.data).hexdigest()} {CODE_VERSION}",
        tokenize=lambda texts: [[piece + 1 for piece in pairs(text)] for text in texts],
        vocabulary=lambda: (
            piece.removeprefix(WORD_MARK)
            for piece in sorted(ids, key=ids.get)
            if piece.startswith(WORD_MARK)
        ),
    )


class BytePairs:
    """The tokenizer of Llama 2.

    Args:
        ids: The id of each piece. `<0x00>` to `<0xFF>` stand for bytes of characters that have
            none.
        merges: Pairs of pieces, "a b" or ("a", "b"), in the order in which they are joined.

    Examples:
        >>> ids = {WORD_MARK: 0, "a": 1, "b": 2, "ab": 3, "<0xC3>": 4, "<0xA9>": 5}
        >>> BytePairs(ids, ["a b"])("abé")
        [0, 3, 4, 5]
    """

    def __init__(self, ids: Mapping[str, int], merges: Sequence[str | Sequence[str]]):
        pairs = (tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in merges)
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._ids = ids
        self._of_word = lru_cache(maxsize=100_000)(self._merged)

    def __call__(self, text: str) -> list[int]:
        """Gives the ids of a text, without one for its beginning."""
        marked = WORD_MARK + text.replace(" ", WORD_MARK)
        # No pair joins a word's end with a mark, only marks with marks and with what follows.
        words, start = [], 0
        for at in range(1, len(marked)):
            if marked[at] == WORD_MARK != marked[at - 1]:
                words.append(marked[start:at])
                start = at
        return [piece for word in [*words, marked[start:]] for piece in self._of_word(word)]

    def _merged(self, word: str) -> list[int]:
        pieces = list(word)
        while len(pieces) > 1:
            ranks = [self._ranks.get(pair, len(self._ranks)) for pair in pairwise(pieces)]
            best = min(ranks)
            if best == len(self._ranks):
                break
            at = ranks.index(best)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        ids = []
        for piece in pieces:
            if piece in self._ids:
                ids.append(self._ids[piece])
            else:
                ids += [self._ids[f"<0x{byte:02X}>"] for byte in piece.encode("utf-8")]
        return ids
