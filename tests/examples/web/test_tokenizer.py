"""The page's tokenizer, run by Node.js, gives what Python's gives."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from make_page import tokenizer_rules

from mmkd_tf.edge.tokenizer import text_bytes

ROOT = Path(__file__).parents[3]
VECTORS = json.loads((ROOT / "docs" / "tokenizer_vectors.json").read_text(encoding="ascii"))
SCRIPT = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const { Tokenizer } = await import(pathToFileURL(process.argv[1]));
const { rules, cases } = JSON.parse(readFileSync(0, "utf8"));
const tokenizer = new Tokenizer(rules, []);
const answers = cases.map(([text, size]) => {
  const bytes = Buffer.from(tokenizer.bytes(text, size)).toString("hex");
  return [bytes, tokenizer.words(text).slice(tokenizer.numFitting(text, size))];
});
console.log(JSON.stringify(answers));
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Gives a function that answers `(text, number of bytes)`: the bytes, and the words cut."""
    if not shutil.which("node"):
        pytest.skip("no node")
    folder = tmp_path_factory.mktemp("page")
    shutil.copyfile(ROOT / "examples/web/page/tokenizer.js", folder / "tokenizer.js")
    (folder / "package.json").write_text('{"type": "module"}')

    def answers(cases):
        told = json.dumps({"rules": tokenizer_rules(), "cases": cases})
        command = ["node", "--input-type=module", "-e", SCRIPT, str(folder / "tokenizer.js")]
        found = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
        return [(bytes.fromhex(utf8), words) for utf8, words in json.loads(found.stdout)]

    return answers


def test_texts_as_bytes(ask):
    vectors = VECTORS["fit_vectors"]
    answers = ask([(vector["text"], vector["num_bytes"]) for vector in vectors])
    for vector, (found, cut) in zip(vectors, answers, strict=True):
        assert found == vector["kept"].encode().ljust(vector["num_bytes"], b"\0"), vector
        assert cut[: len(vector["cut"])] == vector["cut"], vector


def test_texts_as_bytes_of_any_characters(ask):
    rng = np.random.default_rng(0)
    signs = list("aab  \t.-éß茶👍\u0301\u200d\u3000\0𠮷") + ["\ud800"]
    cases = [
        ("".join(rng.choice(signs, rng.integers(0, 40))), int(rng.integers(1, 48)))
        for _ in range(2000)
    ]
    for (text, size), (found, _) in zip(cases, ask(cases), strict=True):
        assert found == text_bytes(text, num_bytes=size).tobytes(), (text, size)
