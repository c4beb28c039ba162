import json
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


def replaced(content, **changes):
    """The file with other values in mmkd.json."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(files["mmkd.json"])
    stream = BytesIO(content[: description["model_bytes"]])
    stream.seek(0, 2)
    files["mmkd.json"] = json.dumps(description | changes)
    with zipfile.ZipFile(stream, "a") as archive:
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


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_cut_off(student_file, write, share):
    content = student_file.read_bytes()
    with pytest.raises(ValueError, match="cut off, damaged or from another tool"):
        read_model_file(write(content[: int(share * len(content))]))


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


@pytest.mark.parametrize(
    "changes",
    [{"format": 2}, {"inputs": {"text": {"shape": [1, 4], "tokenizer_rules": 2}}}],
)
def test_later_versions(student_file, write, changes):
    content = student_file.read_bytes()
    assert read_model_file(write(replaced(content))).class_names[0] == "cup"
    with pytest.raises(ValueError, match="newer than this mmkd_tf"):
        read_model_file(write(replaced(content, **changes)))


@pytest.mark.parametrize("changes", [{"inputs": None}, {"inputs": []}, {"model_bytes": "many"}])
def test_description_of_another_form(student_file, write, changes):
    with pytest.raises(ValueError, match="from another tool"):
        read_model_file(write(replaced(student_file.read_bytes(), **changes)))
