import json
import runpy
from pathlib import Path

import pytest

from mmkd_tf.edge.tokenizer import Tokenizer, split_words, text_bytes

DOCS = Path(__file__).parents[2] / "docs"
FILE = json.loads((DOCS / "tokenizer_vectors.json").read_text(encoding="ascii"))
TEXTS = FILE["vectors"] + [
    vector | {"text": bytes(vector["bytes"]).decode("utf-8", errors="replace")}
    for vector in FILE["byte_vectors"]
]


def test_the_file_is_what_its_script_makes():
    make = runpy.run_path(str(DOCS / "tokenizer_vectors.py"))["make"]
    assert (DOCS / "tokenizer_vectors.json").read_text(encoding="ascii") == make()


@pytest.mark.parametrize("vector", TEXTS, ids=lambda vector: vector["about"])
def test_the_tokenizer(vector):
    tokenizer = Tokenizer(FILE["vocabulary"], FILE["length"])
    assert tokenizer(vector["text"]) == vector["ids"]
    assert split_words(vector["text"])[: FILE["length"] + 1] == vector["words"]


def test_texts_as_bytes():
    sizes = {}
    for vector in FILE["fit_vectors"]:
        text, kept, size = vector["text"], vector["kept"], vector["num_bytes"]
        assert text_bytes(text, num_bytes=size).tobytes().rstrip(b"\0") == kept.encode()
        words, read = split_words(text), split_words(kept)
        assert len(kept.encode()) <= size and (len(read) < 2 or read == words[: len(read)])
        assert vector["cut"] == words[: FILE["most_words"]][len(read) :]
        sizes.setdefault(bool(vector["cut"]), []).append(size)
    assert min(map(len, sizes.values())) > 30


def test_a_port_that_knows_only_the_specification_and_the_file():
    code = (DOCS / "tokenizer.md").read_text(encoding="utf-8")
    lines = [line[4:] for line in code.split("\n") if line.startswith("    ")]
    known = {
        "fold": dict(FILE["fold"]),
        "separators": {c for a, b in FILE["separators"] for c in range(a, b + 1)},
        "singles": {c for a, b in FILE["singles"] for c in range(a, b + 1)},
        "ids": {word: i for i, word in enumerate(FILE["vocabulary"]) if i > 1},
        "length": FILE["length"],
    }
    port = compile("\n".join(lines), "tokenizer.md", "exec")
    for vector in TEXTS:
        names = known | {"text": vector["text"]}
        exec(port, names)
        assert names["result"] == vector["ids"], vector["about"]
        assert names["words"][: FILE["length"] + 1] == vector["words"]


def test_the_lists_are_as_the_specification_says():
    separators, singles = FILE["separators"], FILE["singles"]
    for ranges in (separators, singles):
        assert ranges == sorted(ranges)
    codes = [c for a, b in separators + singles for c in range(a, b + 1)]
    assert len(set(codes)) == len(codes)
    replaced = {a for a, _ in FILE["fold"]}
    assert not replaced & {b for _, b in FILE["fold"]}
    assert len(replaced) == len(FILE["fold"])


def test_every_word_that_a_text_can_give_is_given_by_one():
    given = {i for vector in FILE["vectors"] for i in vector["ids"]}
    never = {w for i, w in enumerate(FILE["vocabulary"]) if i not in given}
    assert never == {w for w in FILE["vocabulary"][2:] if split_words(w) != [w]}
