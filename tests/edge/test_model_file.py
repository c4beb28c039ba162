import gzip
import json
import random
import zipfile
from io import BytesIO

import pytest

from mmkd_tf.edge.model_file import read_model_file


@pytest.fixture
def write(tmp_path):
    def function(content):
        path = tmp_path / "a.tflite"
        path.write_bytes(content)
        return path

    return function


def replaced(content, *, method=zipfile.ZIP_STORED, **changes):
    """The file with other values in mmkd.json."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(files["mmkd.json"])
    stream = BytesIO(content[: description["model_bytes"]])
    stream.seek(0, 2)
    files["mmkd.json"] = json.dumps(description | changes)
    with zipfile.ZipFile(stream, "a", method) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_reads_labels_and_vocabulary(student_file):
    file = read_model_file(student_file)
    assert file.class_names == ("cup", "hat", "Schlüssel 茶")
    assert file.vocabulary == ("<pad>", "<unk>", "red", "茶", "big")
    assert file.content == student_file.read_bytes()


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_model_file(tmp_path / "a.tflite")
    with pytest.raises(ValueError, match="a folder or device"):
        read_model_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"no model at all, but long enough"])
def test_other_files(write, content):
    with pytest.raises(ValueError, match=f"{len(content)} bytes of something else"):
        read_model_file(write(content))


def test_cut_off_anywhere(student_file, write):
    content = student_file.read_bytes()
    sizes = {*range(8, len(content), 197), *range(len(content) - 400, len(content), 3)}
    for size in sorted(sizes):
        with pytest.raises(ValueError, match="cut off, damaged or from another tool"):
            read_model_file(write(content[:size]))


def test_damaged_anywhere_is_an_error_or_does_no_harm(student_file, write):
    content = student_file.read_bytes()
    whole = read_model_file(student_file)
    begin = json.loads(zipfile.ZipFile(student_file).read("mmkd.json"))["model_bytes"]
    rng = random.Random(0)
    refused = 0
    for place in [*range(begin, len(content)), *rng.choices(range(8, begin), k=300)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        try:
            file = read_model_file(write(damaged))
        except ValueError as error:
            assert "damaged" in str(error) or "another tool" in str(error)
            refused += 1
        else:  # a date, say
            same = (file.class_names, file.vocabulary) == (whole.class_names, whole.vocabulary)
            assert same and file.content[:begin] == content[:begin], place
    assert refused > 800


def test_damaged_inside(student_file, write):
    content = bytearray(student_file.read_bytes())
    content[3000] ^= 255
    with pytest.raises(ValueError, match="checksum does not fit"):
        read_model_file(write(content))


def test_without_metadata(student_file, write):
    content = student_file.read_bytes()
    size = json.loads(zipfile.ZipFile(student_file).read("mmkd.json"))["model_bytes"]
    with pytest.raises(ValueError, match="export it with mmkd_tf.export"):
        read_model_file(write(content[:size]))


def test_of_another_tool(student_file, write):
    size = json.loads(zipfile.ZipFile(student_file).read("mmkd.json"))["model_bytes"]
    stream = BytesIO(student_file.read_bytes()[:size])
    stream.seek(0, 2)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("labels.txt", "cup\nhat")
    with pytest.raises(ValueError, match="from another tool: its archive lacks mmkd.json"):
        read_model_file(write(stream.getvalue()))


def packed(content, gz):
    """The file with a gzip file in place of its vocabulary."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(files.pop("mmkd.json"))
    del files["vocab.txt"]
    stream = BytesIO(content[: description["model_bytes"]])
    stream.seek(0, 2)
    description |= {"format": 3, "files": ["labels.txt", "vocab.txt.gz"]}
    files |= {"vocab.txt.gz": gz, "mmkd.json": json.dumps(description).encode()}
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_a_compressed_vocabulary(student_file, write):
    whole, content = read_model_file(student_file), student_file.read_bytes()
    gz = gzip.compress("\n".join(whole.vocabulary).encode(), mtime=0)
    file = read_model_file(write(packed(content, gz)))
    assert file.vocabulary == whole.vocabulary and file.class_names == whole.class_names
    assert set(file.files) == {"vocab.txt"}
    large = gzip.compress(bytes(30 * len(content)))
    for wrong in (b"", gz[:-1], gz[:12] + b"??" + gz[14:], gz + gz, b"red", large):
        with pytest.raises(ValueError, match="without readable labels"):
            read_model_file(write(packed(content, wrong)))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_of_a_tool_that_compresses(student_file, write, method):
    content = replaced(student_file.read_bytes(), method=method)
    with pytest.raises(ValueError, match="without readable labels"):
        read_model_file(write(content))


def test_author_and_licence(student_file, write):
    content = student_file.read_bytes()
    file = read_model_file(write(replaced(content, author="Zoë", licence="Apache-2.0")))
    assert (file.author, file.licence) == ("Zoë", "Apache-2.0")
    file = read_model_file(write(replaced(content, author=None, licence=None)))
    assert (file.author, file.licence) == (None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 4},
        {"format": 4, "inputs": "in another form"},
        {"inputs": {"text": {"shape": [1, 4], "tokenizer_rules": 2}}},
    ],
)
def test_later_versions(student_file, write, changes):
    content = student_file.read_bytes()
    assert read_model_file(write(replaced(content))).class_names[0] == "cup"
    with pytest.raises(ValueError, match="newer than this mmkd_tf"):
        read_model_file(write(replaced(content, **changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": None},
        {"inputs": []},
        {"inputs": {"text": 3}},
        {"model_bytes": "many"},
        {"files": ["labels.txt", "vocab.txt", "more.txt"]},
        {"files": []},
        {"format": 0},
        {"format": "1"},
        {"author": 7},
        {"licence": ["MIT"]},
    ],
)
def test_description_of_another_form(student_file, write, changes):
    with pytest.raises(ValueError, match="from another tool"):
        read_model_file(write(replaced(student_file.read_bytes(), **changes)))


@pytest.mark.parametrize("model_bytes", [0, -1, 10**12])
def test_model_of_another_size(student_file, write, model_bytes):
    with pytest.raises(ValueError, match="checksum does not fit"):
        read_model_file(write(replaced(student_file.read_bytes(), model_bytes=model_bytes)))


def test_a_large_file_of_another_kind_is_not_read(tmp_path):
    path = tmp_path / "video.mp4"
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(ValueError, match="1,099,511,627,776 bytes of something else"):
        read_model_file(path)
