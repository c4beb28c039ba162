"""Tests the Kotlin and Swift sources in examples/android and examples/ios, which apps copy.

Their tables are always compared with the tokenizer's. What needs no phone is compiled and run where
there is a compiler: `pip install --no-deps kotlin-jupyter-kernel`, which brings one along and needs
`java`, or `kotlinc` of Kotlin 1.4 or later; `swiftc`.
"""

import gzip
import importlib.util
import json
import re
import shutil
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from mmkd_tf.edge import Index
from mmkd_tf.edge.audio import STEP, read_sound
from mmkd_tf.edge.model_file import read_model_file
from mmkd_tf.edge.picture import read_picture
from mmkd_tf.edge.series import from_columns, read_series, resized
from mmkd_tf.edge.tokenizer import FOLD, SEPARATORS, SINGLES, split_words, text_bytes

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
VECTORS = json.loads((ROOT / "docs" / "tokenizer_vectors.json").read_text(encoding="ascii"))
# Without Session and Classifier, which need the phone's pictures and interpreter.
PORTABLE = ("Tokenizer", "ModelFile", "Pixels", "Answers", "Sound", "Series")


def table(source, name):
    """Gives the numbers that a source file has in the array `name`."""
    text = (EXAMPLES / source).read_text(encoding="utf-8")
    body = re.search(rf"\b(?:val|let) {name}\b.*?[(\[]\n(.*?)\n *[)\]]\n", text, re.DOTALL)[1]
    return [int(number, 0) for number in re.findall(r"-?\w+", body)]


@pytest.mark.parametrize(
    ("source", "separators", "singles", "fold_runs"),
    [
        ("android/Tokenizer.kt", "SEPARATORS", "SINGLES", "FOLD_RUNS"),
        ("ios/Tokenizer.swift", "separators", "singles", "foldRuns"),
    ],
)
def test_the_tables_are_the_tokenizers(source, separators, singles, fold_runs):
    for name, expected in ((separators, SEPARATORS), (singles, SINGLES)):
        numbers = table(source, name)
        assert list(zip(numbers[::2], numbers[1::2], strict=True)) == list(expected)
    runs = np.reshape(table(source, fold_runs), [-1, 4]).tolist()
    pairs = [
        (code_point, code_point + distance)
        for first, last, step, distance in runs
        for code_point in range(first, last + 1, step)
    ]
    assert pairs == sorted(FOLD.items())


def build_kotlin(folder):
    """Compiles the port; gives the command that runs it, or skips the test."""
    sources = [*(EXAMPLES / "android" / f"{name}.kt" for name in PORTABLE), *own("Main.kt")]
    package = importlib.util.find_spec("run_kotlin_kernel")
    runtime = []
    if package and shutil.which("java"):
        jars = Path(package.origin).parent / "jars"
        runtime = list(jars.glob("kotlin-stdlib-*.jar"))
        command = ["java", "-cp", f"{jars}/*", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
        command += ["-no-stdlib", "-no-reflect", "-cp", *runtime]
    elif shutil.which("kotlinc"):
        command = ["kotlinc", "-include-runtime"]
    else:
        pytest.skip("no kotlinc, nor java and the package kotlin-jupyter-kernel")
    jar = folder / "port.jar"
    subprocess.run([*command, "-d", jar, *sources], check=True)
    classes = ":".join(map(str, [jar, *runtime]))
    # On Android UTF-8 is the default, as it is in newer Java.
    return ["java", "-Dfile.encoding=UTF-8", "-cp", classes, "mmkd.MainKt"]


def build_swift(folder):
    """Compiles the port; gives the command that runs it, or skips the test."""
    if not shutil.which("swiftc"):
        pytest.skip("no swiftc")
    sources = [*(EXAMPLES / "ios" / f"{name}.swift" for name in PORTABLE), *own("main.swift")]
    subprocess.run(["swiftc", "-O", "-o", folder / "port", *sources], check=True)
    return [folder / "port"]


def own(name):
    return [Path(__file__).parent / "ports" / name]


@pytest.fixture(scope="module", params=[build_kotlin, build_swift], ids=["kotlin", "swift"])
def ask(request, tmp_path_factory):
    """Gives a function by which a port answers lines; the files in `ports/` say how."""
    command = request.param(tmp_path_factory.mktemp("port"))

    def answers(lines):
        lines = list(lines)
        result = subprocess.run(
            command, input="\n".join([*lines, ""]), capture_output=True, encoding="utf-8"
        )
        assert result.returncode == 0, result.stderr
        found = result.stdout.split("\n")[:-1]
        assert len(found) == len(lines)
        return found

    return answers


def code(text):
    """UTF-16 in hexadecimal digits."""
    return text.encode("utf-16-be", "surrogatepass").hex() or "-"


def decode(answer):
    return [bytes.fromhex(word).decode() for word in answer.split()]


def test_the_test_vectors(ask):
    vectors, length = VECTORS["vectors"], VECTORS["length"]
    vocabulary = code("\n".join(VECTORS["vocabulary"]))
    lines = [f"{what} {code(vector['text'])}" for what in ("ids", "words") for vector in vectors]
    answers = ask([f"tokenizer {length} {vocabulary}", *lines])[1:]
    ids, words = answers[: len(vectors)], answers[len(vectors) :]
    for vector, found_ids, found_words in zip(vectors, ids, words, strict=True):
        assert [int(number) for number in found_ids.split()] == vector["ids"], vector["about"]
        assert decode(found_words)[: length + 1] == vector["words"], vector["about"]


def test_every_code_point(ask):
    texts = [
        "".join(f"{chr(code_point)}a" for code_point in range(first, first + 256))
        for first in range(0, 0x110000, 256)
    ]
    for text, answer in zip(texts, ask(f"words {code(t)}" for t in texts), strict=True):
        assert decode(answer) == split_words(text), f"U+{ord(text[0]):04X} and after"


def test_vocabularies_that_are_none(ask):
    wrong = ["red\ncup", "<pad>", "<pad>\n<unk>\nred\nred", ""]
    for text, answer in zip(wrong, ask(f"tokenizer 4 {code(t)}" for t in wrong), strict=True):
        assert answer.startswith("error: `vocabulary`: distinct words"), text
    (answer,) = ask([f"tokenizer 0 {code('<pad> <unk>'.replace(' ', chr(10)))}"])
    assert answer == "error: `length`: at least 1. Received: length=0."


def test_texts_as_bytes(ask):
    vectors, most = VECTORS["fit_vectors"], VECTORS["most_words"]
    told = [f"{v['num_bytes']} {code(v['text'])}" for v in vectors]
    cut = [f"cut {v['num_bytes']} {most} {code(v['text'])}" for v in vectors]
    answers = ask([*(f"bytes {each}" for each in told), *cut])
    for vector, found, words in zip(vectors, answers, answers[len(vectors) :], strict=False):
        expected = vector["kept"].encode().ljust(vector["num_bytes"], b"\0")
        assert bytes.fromhex(found) == expected, vector
        assert decode(words) == vector["cut"], vector


def test_texts_as_bytes_of_any_characters(ask):
    rng = np.random.default_rng(0)
    signs = list("aab  \t.-éß茶👍\u0301\u200d\u3000\0𠮷")
    cases = [
        ("".join(rng.choice(signs, rng.integers(0, 40))), int(rng.integers(1, 48)))
        for _ in range(2000)
    ]
    answers = ask(f"bytes {size} {code(text)}" for text, size in cases)
    for (text, size), answer in zip(cases, answers, strict=True):
        assert bytes.fromhex(answer) == text_bytes(text, num_bytes=size).tobytes(), (text, size)


def test_exported_files(ask, student_file, tmp_path):
    expected = read_model_file(student_file)
    joined = ["\n".join(expected.class_names), "\n".join(expected.vocabulary)]
    # A zip archive may also count from its own start.
    other = tmp_path / "other.tflite"
    other.write_bytes(with_files(student_file.read_bytes(), shifted=True))
    for answer in ask([f"file {student_file}", f"file {other}"]):
        assert decode(answer) == [*joined, "probabilities - -"]


def test_a_compressed_vocabulary(ask, student_file, tmp_path):
    expected = read_model_file(student_file)
    joined = ["\n".join(expected.class_names), "\n".join(expected.vocabulary)]
    content = student_file.read_bytes()
    packed = with_files(content, '"format": 1', '"format": 3', packed=True)
    files = {
        "packed": packed,
        "with_a_task": with_files(packed, '"signature": ', '"task": "guessing", "signature": '),
        "with_kinds": with_files(packed, '"dtype": ', '"kind": "smell", "dtype": '),
        "damaged": with_files(content, '"format": 1', '"format": 3', packed=True, damaged=True),
    }
    for name, each in files.items():
        (tmp_path / name).write_bytes(each)
    answers = ask(f"file {tmp_path / name}" for name in files)
    assert decode(answers[0]) == [*joined, "probabilities - -"]
    assert all(answer.startswith("error: `content`") for answer in answers[1:])


def test_files_that_are_none(ask, student_file, tmp_path):
    content = student_file.read_bytes()
    model = content[: content.index(b"PK\x03\x04")]
    wrong = {
        "nothing": b"",
        "another_file": b"labels.txt" * 9,
        "the_mark_alone": b"....TFL3",
        "the_model_alone": model,
        "a_damaged_model": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
        "a_damaged_vocabulary": content.replace("茶\nbig".encode(), "茶\nbag".encode()),
        "damaged_labels": content.replace(b"cup\nhat", b"cap\nhat"),
        "a_directory_elsewhere": content[:-6] + b"\xff\xff\xff\x7f\0\0",
        "a_large_directory": content[:-10] + b"\xff\xff\xff\xff" + content[-6:],
        "many_files": content[:-12] + b"\xff\xff" + content[-10:],
        "a_later_format": with_files(content, '"format": 1', '"format": 4'),
        "no_labels": with_files(content, '"labels.txt", ', ""),
        "another_output": with_files(content, '{"probabilities"', '{"values"'),
        "later_rules": with_files(content, '_rules": 1', '_rules": 2'),
        "a_model_too_long": with_files(content, '"model_bytes": ', '"model_bytes": 9'),
        "no_checksum": with_files(content, "model_crc32", "model_sum"),
        "no_number": with_files(content, '"model_bytes": ', '"model_bytes": "x", "y": '),
    }
    wrong |= {f"cut_by_{n}": content[:-n] for n in (1, 22, 60, 300, len(content) // 2)}
    for name, bad in wrong.items():
        assert bad != content, name
        (tmp_path / name).write_bytes(bad)
    answers = ask(f"file {tmp_path / name}" for name in wrong)
    for name, answer in zip(wrong, answers, strict=True):
        assert answer.startswith("error: `content`: a .tflite file exported by mmkd_tf."), name


def described(content, task, output):
    """The same file, as if of another task: its `mmkd.json` says so."""
    named = with_files(content, '"signature": ', f'"task": "{task}", "signature": ')
    return with_files(named, '"probabilities": {"range": [0, 1]}', output)


def test_files_of_other_tasks(ask, student_file, tmp_path):
    content = with_files(student_file.read_bytes(), '"format": 1', '"format": 2')
    labels = '"probabilities": {"range": [0, 1], "threshold": 0.25, "temperature": 1.5}'
    found = described(content, "retrieval", '"embedding": {"range": [-1, 1]}')
    files = {
        "labels": described(content, "multi_label", labels),
        "older": described(content, "multi_label", '"probabilities": {"range": [0, 1]}'),
        "numbers": described(content, "regression", '"values": {}'),
        "embeddings": with_files(found, '"labels.txt", ', ""),
    }
    expected = ["probabilities 0.25 1.5", "probabilities 0.5 -", "values - -", "embedding - -"]
    for name, each in files.items():
        (tmp_path / name).write_bytes(each)
    answers = [decode(answer) for answer in ask(f"file {tmp_path / name}" for name in files)]
    assert [answer[-1] for answer in answers] == expected
    names = "\n".join(read_model_file(student_file).class_names)
    assert [answer[0] for answer in answers[:3]] == [names] * 3
    values = "0.2,0.9,0.3"
    first, several = ask(f"predict {file} {values}" for file in (student_file, tmp_path / "labels"))
    ranked = ["hat", "Schlüssel 茶", "cup"]
    assert decode(first) == ["hat", *ranked, "hat", "false"]
    assert decode(several) == ["hat", *ranked, "hat", "Schlüssel 茶", "true"]


def test_an_index_finds_what_is_nearest(ask):
    vectors = np.random.default_rng(0).normal(size=[7, 5])
    query, items = vectors[0], vectors[1:]
    index = Index()
    index.add([f"item{i}" for i in range(len(items))], items)
    line = " ".join(",".join(f"{value:.9g}" for value in each) for each in vectors)
    (answer,) = ask([f"search 4 {line}"])
    found = answer.split()
    expected = index.search(query, top=4)
    assert found[::2] == [match.item for match in expected]
    assert [float(score) for score in found[1::2]] == pytest.approx(
        [match.score for match in expected], abs=1e-5
    )
    zeros, narrow, none = ask(["search 1 1,0 0,0", "search 1 1,0 1,0 1,0,0", "search 0 1,0 1,0"])
    assert zeros.startswith("error: `embedding`: finite numbers that are not all 0")
    assert narrow.startswith("error: `embedding`: of width 2, as those before")
    assert none.startswith("error: `query`, `top`")


def with_files(
    content, old="", new="", *, shifted=False, packed=False, damaged=False, renamed="vocab.txt"
):
    """Packs the archive behind a model anew, something in mmkd.json replaced.

    With `packed` the vocabulary becomes a gzip file, with `damaged` one that is none; it may get
    another name.
    """
    archive = zipfile.ZipFile(BytesIO(content))
    texts = {name: archive.read(name) for name in archive.namelist()}
    texts["mmkd.json"] = texts["mmkd.json"].replace(old.encode(), new.encode(), 1)
    if renamed != "vocab.txt":
        texts[renamed] = texts.pop("vocab.txt")
    if packed:
        gz = gzip.compress(texts.pop("vocab.txt"), mtime=0)
        texts["vocab.txt.gz"] = gz[:12] + b"??" + gz[14:] if damaged else gz
        texts["mmkd.json"] = texts["mmkd.json"].replace(b'"vocab.txt"', b'"vocab.txt.gz"')
    model = content[: content.index(b"PK\x03\x04")]
    stream = BytesIO(b"" if shifted else model)
    with zipfile.ZipFile(stream, "a") as repacked:
        for name, text in texts.items():
            repacked.writestr(name, text)
    return model + stream.getvalue() if shifted else stream.getvalue()


@pytest.mark.parametrize("size", [(12, 16), (5, 7), (1, 1), (100, 90), (33, 200), (301, 4)])
def test_pictures_become_what_python_makes_of_them(ask, tmp_path, size):
    colors = np.random.default_rng(3).integers(0, 256, (*size, 4)).astype("uint8")
    colors[..., 3] = 255
    (tmp_path / "picture").write_bytes(colors.tobytes())
    height, width = size
    (answer,) = ask([f"pixels {width} {height} 16 12 {tmp_path / 'picture'}"])
    found = np.frombuffer(bytes.fromhex(answer), np.uint8).reshape([12, 16, 3]).astype(int)
    expected = read_picture(colors[..., :3], height=12, width=16)
    assert np.abs(found - expected).max() <= 1


def test_a_black_picture_is_not_an_absent_one(ask, tmp_path):
    (tmp_path / "black").write_bytes(bytes([0, 0, 0, 255]) * 12)
    (answer,) = ask([f"pixels 4 3 2 2 {tmp_path / 'black'}"])
    assert bytes.fromhex(answer) == bytes([1]) * 12


def test_inputs_of_other_names_and_kinds(ask, student_file, tmp_path):
    content = with_files(student_file.read_bytes(), '"format": 1', '"format": 2')
    changes = [
        ('"image": {', '"recording": {'),
        ('"dtype": "uint8"', '"dtype": "float32", "kind": "audio", "rate": 8000'),
        ('"text": {', '"title": {'),
        ('"dtype": "int32"', '"dtype": "int32", "kind": "text"'),
    ]
    for old, new in changes:
        content = with_files(content, old, new)
    content = with_files(content, '"vocab.txt"', '"title.vocab.txt"', renamed="title.vocab.txt")
    (tmp_path / "titled").write_bytes(content)
    plain, titled = ask([f"inputs {student_file}", f"inputs {tmp_path / 'titled'}"])
    assert plain == "image=image,-,- text=text,-,5"
    assert titled == "recording=audio,8000,- title=text,-,5"


def numbers(values):
    return ",".join("NaN" if np.isnan(value) else repr(float(value)) for value in np.ravel(values))


def test_sounds_become_what_python_makes_of_them(ask):
    rng = np.random.default_rng(0)
    lines, expected = ["sound 8000 40 8000 1 0,0,0 short"], [np.full(3, STEP, np.float32)]
    for rate, new_rate in [(8000, 8000), (44100, 16000), (16000, 44100), (48000, 16000)]:
        for number in (3, 7, 3001):  # fewer than channels would be taken for channels
            for channels in (1, 2):
                whole = rng.integers(-(2**15), 2**15, [number, channels]).astype(np.int16)
                for form, values in [("short", whole), ("float", whole / np.float32(2**15))]:
                    told = numbers(values)
                    lines.append(f"sound {new_rate} 900 {rate} {channels} {told} {form}")
                    sound = {"array": values, "sampling_rate": rate}
                    expected.append(read_sound(sound, rate=new_rate, samples=900))
    for line, answer, wanted in zip(lines, ask(lines), expected, strict=True):
        found = np.array(answer.split(","), np.float32)
        assert not found[len(wanted) :].any()
        found = found[: len(wanted)]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=STEP, err_msg=line[:40])
    wrong = ["sound 8000 9 8000 1 0,NaN float", "sound 8000 9 8000 1 0,3 float"]
    wrong += ["sound 8000 9 8000 2 0,0,0 short", "sound 8000 9 7 1 0,0 short"]
    assert all(answer.startswith("error: `") for answer in ask(wrong))


def test_series_become_what_python_makes_of_them(ask):
    rng = np.random.default_rng(0)
    lines, expected = [], []
    for steps in (1, 2, 5, 16, 40, 301):
        for length in (8, 16, 64):
            values = rng.normal(size=[steps, 3]).astype(np.float32)
            gaps = values.copy()
            gaps[1:-1][rng.random([max(steps - 2, 0), 3]) < 0.3] = np.nan
            gaps[1 + steps // 3 : steps // 2] = np.nan
            times = np.cumsum(rng.exponential(size=steps))
            times[1:2] = times[0] if steps > 2 else times[1:2]
            columns = {"t": times, "x": gaps[:, 0], "y": gaps[:, 1], "z": gaps[:, 2]}
            plain, told = (";".join(map(numbers, each)) for each in (values, gaps))
            lines += [f"series {length} 3 {each}" for each in (plain, told)]
            lines.append(f"series {length} 3 {told} {numbers(times)}")
            timed = from_columns(columns, "t")
            read = [read_series(values), read_series(gaps), timed]
            expected += [resized(series, length, 4) for series in read]
    lines += ["series 2 1 1;1;1", "series 4 2 NaN,NaN;NaN,NaN"]
    expected += [np.ones([2, 2]), np.zeros([4, 3])]
    for line, answer, wanted in zip(lines, ask(lines), expected, strict=True):
        found = np.array(answer.split(","), np.float32)
        np.testing.assert_allclose(found, np.ravel(wanted), rtol=0, atol=1e-6, err_msg=line[:60])
    wrong = ["3 1,2", "2 1,2;3", "2 1,NaN;2,NaN", "1 Infinity;1", "1 1;2 1,0", "1 1;2 1,1"]
    answers = ask(f"series 4 {each}" for each in wrong)
    assert all(answer.startswith("error: `") for answer in answers)
