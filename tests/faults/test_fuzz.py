"""Fuzzers of tables, texts, settings and model files: an answer or a clear error, never a crash.

Each takes seconds in CI; MMKD_TF_FUZZ=10000 tries as many of each. `pytest -s` shows the counts.
"""

import collections
import io
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import yaml

from mmkd_tf import from_table
from mmkd_tf.config import RunConfig, make_config
from mmkd_tf.edge.tokenizer import Tokenizer, split_words, text_bytes
from mmkd_tf.export.text_bytes import text_reader
from mmkd_tf.settings.names import read_yaml

NUM_TRIED = int(os.environ.get("MMKD_TF_FUZZ", "40"))
GOLDEN = Path(__file__).parents[1] / "golden" / "models" / "concatenation.tflite"

# Odd texts, as they stand in cells, in YAML and in names.
SIGNS = ['"', "'", ",", ";", "\t", "\n", "\r", "\0", "\\", "|", "=", ":", "#", "[", "{", "&a", "*a"]
SIGNS += ["-", "1e400", "nan", "-1", "0", "99999999999999999999", "null", "true", "!!python/name:x"]
SIGNS += ["\ufeff", "\u2028", "\u200b", "é", "e\u0301", "茶", "👍", "\ud800", "\x1b[31m", "<<", "~"]


def mutated(rng, content):
    """A file's bytes with some of them changed, moved, left out or made of odd texts."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        place = rng.randrange(rng.choice([20, 200, len(content) + 1])) % (len(content) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            content[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del content[place : place + rng.randrange(1, 30)]
        elif kind == 2:
            begin = rng.randrange(len(content) + 1)
            content[place:place] = content[begin : begin + rng.randrange(60)]
        else:
            content[place : place + rng.choice([0, 1])] = rng.choice(SIGNS).encode(
                "utf-8", "surrogatepass"
            ) * rng.choice([1, 1, 1, 300])
    return bytes(content[: rng.randrange(len(content) + 1)] if rng.random() < 0.05 else content)


def tried(number, ask):
    """Counts what comes of it; whatever is no ValueError is a crash."""
    found = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in range(number):
            try:
                ask(index)
                found["answered"] += 1
            except (ValueError, FileNotFoundError) as error:
                assert str(error).strip() and len(str(error)) < 20_000
                assert not str(error).startswith("Traceback")
                found["refused"] += 1
    sys.stdout.write(f"{dict(found)}\n")
    return found


def table_files():
    rows = [f"a {kind} thing {n}" for n in range(10) for kind in ("cup", "lamp")]
    frame = pd.DataFrame({"text": rows, "label": ["cup", "lamp"] * 10, "size": np.arange(20.0)})
    text = frame.to_csv(index=False)
    parquet, archive = io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    np.savez(archive, text=np.array(rows), label=np.array(["cup", "lamp"] * 10))
    return [
        ("csv", text.encode()),
        ("csv", frame.to_csv(index=False, sep=";", quoting=1).encode()),
        ("csv", text.encode("utf-16")),
        ("tsv", frame.to_csv(index=False, sep="\t").encode()),
        ("csv", text.replace("thing", '"thing, or\nnot"').encode("latin-1")),
        ("parquet", parquet.getvalue()),
        ("npz", archive.getvalue()),
    ]


def test_tables(tmp_path):
    rng, seeds = random.Random(0), table_files()

    def ask(index):
        end, content = seeds[index % len(seeds)]
        path = tmp_path / f"a.{end}"
        path.write_bytes(mutated(rng, content))
        dataset = from_table(path, image=None)
        assert len(dataset.class_names) > 1 and set(dataset.splits) >= {"train", "test"}

    found = tried(NUM_TRIED, ask)
    assert found["answered"] and found["refused"]


def test_settings(tmp_path):
    rng, whole = random.Random(0), RunConfig()
    seeds = [
        whole.to_yaml(),
        "inputs: {photo: {kind: image, size: 96, student: {size: 64}}, title: {kind: text}}\n"
        "training: {epochs: 3}\nseed: 1\nrobustness: false\n",
        "epochs: 2\nimage_size: 16\nteacher.encoders: scratch\nstudent.inherit: none\n",
    ]

    def ask(index):
        path = tmp_path / "a.yaml"
        path.write_bytes(mutated(rng, seeds[index % len(seeds)].encode()))
        config = make_config(read_yaml(path))
        again = make_config(yaml.safe_load(config.to_yaml()))
        assert again.model_dump() == config.model_dump()

    found = tried(NUM_TRIED, ask)
    assert found["answered"] and found["refused"]


def odd_text(rng):
    """A text of words, odd signs and characters from anywhere."""
    parts = []
    for _ in range(rng.randrange(12)):
        kind = rng.randrange(4)
        if kind == 0:
            parts.append(rng.choice(["red", "Cup", "größe", "茶杯", "x" * rng.randrange(40)]))
        elif kind == 1:
            parts.append(rng.choice(SIGNS))
        elif kind == 2:
            parts.append(rng.choice(" \t\n\u3000") * rng.randrange(1, 20))
        else:
            parts.append(chr(rng.choice([rng.randrange(0x250), rng.randrange(0x110000)])))
    return "".join(parts)


def test_texts():
    rng, length, size = random.Random(0), 8, 48
    vocabulary = ["<pad>", "<unk>", "red", "cup", "größe", "茶", "杯", "x", "1e400"]
    tokenizer = Tokenizer(vocabulary, length)
    reader = text_reader(vocabulary, length=length, num_bytes=size, batch_size=None)
    read = tf.function(reader.read, input_signature=[tf.TensorSpec([None, size], tf.uint8)])
    num_cut = 0
    for _ in range(NUM_TRIED // 20):
        texts = [odd_text(rng) for _ in range(100)]
        utf8 = np.stack([text_bytes(text, num_bytes=size) for text in texts])
        kept = [row.tobytes().rstrip(b"\0").decode() for row in utf8]
        np.testing.assert_array_equal(read(utf8), [tokenizer(text) for text in kept])
        for text, part in zip(texts, kept, strict=True):
            words, left = split_words(text), split_words(part)
            assert left == words[: len(left)] or (len(left) == 1 and words[0].startswith(left[0]))
            assert bool(left) == bool(words) or len(words[0].encode()) > size
            num_cut += len(left) < len(words)
    assert num_cut


# In a process of its own, which a crash of Keras, HDF5 or the interpreter would end.
MODELS = """
import collections, io, json, random, resource, sys, zipfile, zlib
from pathlib import Path

sys.path[:0] = sys.argv[1:2]
import keras
import numpy as np
from test_fuzz import mutated, tried

from mmkd_tf.edge import Classifier
from mmkd_tf.runs.manifest import read_model

folder, golden, number = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
rng, whole = random.Random(0), golden.read_bytes()


def files_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files, before=b""):
    stream = io.BytesIO(before)
    stream.seek(0, 2)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


texts = files_of(whole)
model = whole[: json.loads(texts["mmkd.json"])["model_bytes"]]
path = folder / "student.tflite"


def tflite(index):
    kind = index % 4
    if kind == 0:  # what is behind the model, or its first bytes
        place = rng.choice([0, len(model)])
        content = whole[:place] + mutated(rng, whole[place : place + 9000]) + whole[place + 9000 :]
    else:
        name = ("mmkd.json", "labels.txt", "vocab.txt")[kind - 1]
        content = packed(texts | {name: mutated(rng, texts[name])}, model)
    path.write_bytes(content)
    classifier = Classifier(path)
    answer = classifier.predict(text="red cup")
    assert 0 <= answer.probability <= 1


keras.utils.set_random_seed(0)
inputs = keras.Input([3], name="text")
made = keras.Model({"text": inputs}, keras.layers.Dense(2)(keras.layers.Dense(4)(inputs)))
made.save(folder / "teacher.keras")
parts = files_of((folder / "teacher.keras").read_bytes())


def keras_file(index):
    name = (None, *parts)[index % (len(parts) + 1)]
    content = packed(parts if name is None else parts | {name: mutated(rng, parts[name])})
    content = mutated(rng, content) if name is None else content
    (folder / "teacher.keras").write_bytes(content)
    read_model(folder / "teacher.keras", like=made)


before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for ask in (tflite, keras_file):
    tried(number, ask)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_model_files(tmp_path):
    keras.backend.clear_session()
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", MODELS, folder, str(tmp_path), str(GOLDEN), str(NUM_TRIED)]
    done = subprocess.run(command, capture_output=True, text=True)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
    *counts, megabytes = done.stdout.splitlines()
    assert len(counts) == 2 and all("answered" in each and "refused" in each for each in counts)
    assert float(megabytes) < 500
