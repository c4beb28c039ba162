"""MiniLM: its tokenizer by literals, its arithmetic against NumPy, with weights drawn at random."""

from math import erf

import keras
import numpy as np
import pytest

from mmkd_tf.backbones import find_backbone
from mmkd_tf.backbones.minilm import BertEncoder, WordPieces, _shapes, load

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "##s", "caf", "##e", "!", "猫", "un"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a CATS", [4, 5, 6]),
        ("Café!", [7, 8, 9]),
        ("a猫cat", [4, 10, 5]),
        ("a\u200b \t\ncat\ufffd", [4, 5]),
        ("undone cat", [1, 5]),  # "done" has no pieces: the whole word is unknown
        ("a" * 101, [1]),
        ("", []),
    ],
)
def test_splits_into_word_pieces(text, ids):
    assert WordPieces(PIECES)(text, longest=10) == [2, *ids, 3]


def test_cuts_what_is_too_long():
    assert WordPieces(PIECES)("a cat a cat", longest=4) == [2, 4, 5, 3]


def reference(ids, weights):
    """What the encoder gives for one text, written out in NumPy."""

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def embedding(key):
        return weights[f"embeddings.{key}_embeddings.weight"]

    x = embedding("word")[ids] + embedding("position")[: len(ids)] + embedding("token_type")[0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        q, k, v = (dense(x, f"{name}.attention.self.{key}") for key in ("query", "key", "value"))
        seen = []
        for head in range(12):
            part = slice(32 * head, 32 * head + 32)
            scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(32))
            seen.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
        seen = dense(np.concatenate(seen, -1), f"{name}.attention.output.dense")
        x = norm(x + seen, f"{name}.attention.output.LayerNorm")
        y = dense(x, f"{name}.intermediate.dense")
        y = y * 0.5 * (1 + np.vectorize(erf)(y / np.sqrt(2)))
        x = norm(x + dense(y, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x.mean(0)


def test_equals_its_arithmetic_in_numpy_whatever_follows_a_text():
    rng = np.random.default_rng(0)
    weights = {
        key: rng.normal(size=shape).astype(np.float32) * 0.1 for key, shape in _shapes().items()
    }
    layer = BertEncoder(weights)
    ids = np.array([[5, 900, 7, 0, 0], [8, 1, 2, 3, 4]], np.int32)
    given = keras.ops.convert_to_numpy(layer(ids))
    np.testing.assert_allclose(given[0], reference(ids[0, :3], weights), atol=1e-4)
    np.testing.assert_allclose(given[1], reference(ids[1], weights), atol=1e-4)


def test_refuses_a_vocabulary_that_the_table_does_not_have(tmp_path, monkeypatch):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES), encoding="utf-8")
    monkeypatch.setattr("mmkd_tf.backbones.minilm.read_safetensors", lambda path: {})
    monkeypatch.setattr("mmkd_tf.backbones.minilm.check_shapes", lambda *_, **__: None)
    files = {"model.safetensors": tmp_path, "vocab.txt": tmp_path / "vocab.txt"}
    with pytest.raises(ValueError, match="30522 pieces, as the table has. Received: 12"):
        load(find_backbone("minilm"), files)
