"""Writes token ids as texts again, to try out files that take texts as they are."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmkd_tf.edge.examples import text_bytes
from mmkd_tf.edge.tokenizer import Tokenizer

Arrays = dict[str, np.ndarray]


def spell(ids: np.ndarray, vocabulary: Sequence[str]) -> list[str]:
    """Writes token ids `[n, length]` as texts; 1 becomes a word that the vocabulary lacks."""
    unknown = "x"
    while unknown in vocabulary:
        unknown += "x"
    return [" ".join(vocabulary[i] if i > 1 else unknown for i in row if i > 0) for row in ids]


def as_bytes(
    inputs: Mapping[str, np.ndarray], vocabulary: Sequence[str], *, num_bytes: int
) -> tuple[Arrays, Arrays]:
    """Spells the texts of examples in tensor form.

    Returns:
        The examples with the token ids of what was spelled: words beyond `num_bytes`, and gaps
        between words, are lost; and the examples with that as UTF-8, uint8 `[n, num_bytes]`.
    """
    tokenizer = Tokenizer(vocabulary, inputs["text"].shape[1])
    utf8 = np.stack(
        [text_bytes(text, num_bytes=num_bytes) for text in spell(inputs["text"], vocabulary)]
    )
    ids = [tokenizer(bytes(row).rstrip(b"\0").decode()) for row in utf8]
    ids = np.array(ids, inputs["text"].dtype)
    return {**inputs, "text": ids}, {**inputs, "text": utf8}
