import base64
import hashlib
import json
import os
import re
from pathlib import Path

import keras
import make_page as web
import numpy as np
import pytest
import sample_pictures
import typer
from make_page import tokenizer_rules, write_web_page
from PIL import Image as Picture
from typer.testing import CliRunner

from mmkd_tf.edge import Index
from mmkd_tf.export.convert import convert
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.modalities.image import Image

VECTORS = Path(__file__).parents[3] / "docs" / "tokenizer_vectors.json"


@pytest.fixture(scope="module")
def make_file(model, class_names, modalities, examples, tmp_path_factory):
    def make(**options):
        content = convert(model, examples, **options)
        path = tmp_path_factory.mktemp("model") / "student.tflite"
        words = {"class_names": class_names, "modalities": modalities}
        path.write_bytes(add_metadata(content, name="small", **words))
        return path

    return make


@pytest.fixture(scope="module")
def model_file(make_file):
    return make_file()


@pytest.fixture
def litert(tmp_path):
    """What an installed package looks like, without the megabytes."""
    scope = tmp_path / "node_modules" / "@litertjs"
    files = [f"core/{name}" for name in web._LITERT_FILES] + ["wasm-utils/dist/index.js"]
    for name in files:
        (scope / name).parent.mkdir(parents=True, exist_ok=True)
        (scope / name).write_text(f"content of {name}")
    return scope / "core"


def test_writes_all_that_the_page_loads(model_file, litert, tmp_path):
    page = write_web_page(model_file, tmp_path / "a" / "page", litert=litert)
    assert page == tmp_path / "a" / "page" / "index.html"
    files = {str(p.relative_to(page.parent)) for p in page.parent.rglob("*") if p.is_file()}
    sources = {p.name for p in Path(web.__file__).with_name("page").iterdir()}
    expected = sources - {"package.json", "package-lock.json"} | {"model.tflite", "rules.json"}
    expected |= {"samples.json"}
    expected |= {f"litert/{Path(name).name}" for name in web._LITERT_FILES}
    assert files == expected | {"litert/wasm-utils.js"}
    assert (page.parent / "model.tflite").read_bytes() == model_file.read_bytes()
    scripts = "".join(p.read_text() for p in page.parent.glob("*.js"))
    assert {f"{name}.js" for name in re.findall(r'from "\./(\w+)\.js"', scripts)} < files
    assert list((tmp_path / "a").iterdir()) == [page.parent]


def test_replaces_its_own_files_and_no_others(model_file, litert, tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    write_web_page(model_file, folder, litert=litert)
    (folder / "index.html").write_text("old")
    (folder / "litert" / "index.js").write_text("old")
    write_web_page(model_file, folder, litert=litert)
    assert (folder / "index.html").read_text().startswith("<!doctype html>")
    assert (folder / "litert" / "index.js").read_text() == "content of core/dist/index.js"
    assert (folder / "notes.txt").read_text() == "mine"


def test_finds_the_helper_package_inside_the_other(model_file, litert, tmp_path):
    inside = litert / "node_modules" / "@litertjs"
    inside.mkdir(parents=True)
    (litert.parent / "wasm-utils").rename(inside / "wasm-utils")
    page = write_web_page(model_file, tmp_path / "page", litert=litert)
    helper = page.parent / "litert" / "wasm-utils.js"
    assert helper.read_text() == "content of wasm-utils/dist/index.js"


def test_import_map_is_the_one_that_the_policy_allows():
    page = Path(web.__file__).with_name("page").joinpath("index.html").read_text()
    imports = re.search(r'<script type="importmap">(.*?)</script>', page).group(1)
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page
    assert json.loads(imports)["imports"]["@litertjs/wasm-utils"] == "./litert/wasm-utils.js"


def test_rules_are_those_of_the_specification():
    specified = json.loads(VECTORS.read_text())
    assert tokenizer_rules() == {key: specified[key] for key in tokenizer_rules()}


def test_missing_npm_is_explained_and_nothing_written(model_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImportError, match=r"(?s)npm was not found.*nodejs\.org.*npm install @lit"):
        write_web_page(model_file, tmp_path / "page")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
def test_failure_of_npm_is_told_and_nothing_written(model_file, tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no way to the registry >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImportError, match=r"(?s)could not fetch.*no way to the registry.*npm ping"):
        write_web_page(model_file, tmp_path / "page")
    assert list(tmp_path.iterdir()) == [npm]


def test_incomplete_package_is_told_and_nothing_written(model_file, litert, tmp_path):
    (litert / "dist" / "index.js").unlink()
    (litert.parent / "wasm-utils" / "dist" / "index.js").unlink()
    with pytest.raises(ValueError, match=r"`litert`.*core/dist/index\.js, .*wasm-utils/dist"):
        write_web_page(model_file, tmp_path / "page", litert=litert)
    assert [p.name for p in tmp_path.iterdir()] == ["node_modules"]


def test_refuses_other_files(model_file, litert, tmp_path):
    other = tmp_path / "other.tflite"
    other.write_text("something else")
    with pytest.raises(ValueError, match="exported by mmkd_tf"):
        write_web_page(other, tmp_path / "page", litert=litert)
    with pytest.raises(FileNotFoundError, match="no such file"):
        write_web_page(tmp_path / "none.tflite", tmp_path / "page", litert=litert)
    assert not (tmp_path / "page").exists()


def test_refuses_folders_of_others(model_file, litert, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match="`folder`.*a file"):
        write_web_page(model_file, file, litert=litert)
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="`folder`.*another page"):
        write_web_page(model_file, site, litert=litert)
    assert [p.name for p in site.iterdir()] == ["index.html"]
    assert (site / "index.html").read_text() == "mine"


def test_refuses_files_for_any_number_of_examples(make_file, litert, tmp_path):
    with pytest.raises(ValueError, match=r"`model_file`.*any number.*batch_size=1"):
        write_web_page(make_file(batch_size=None), tmp_path / "page", litert=litert)
    assert not (tmp_path / "page").exists()


def test_models_of_embeddings_bring_what_they_find(tower_files, litert, tmp_path):
    page = write_web_page(tower_files["image"], tmp_path / "page", litert=litert).parent
    items = json.loads((page / "candidates.json").read_text())
    assert items == [f"word{number}" for number in range(12)]
    values = np.fromfile(page / "candidates.bin", "<f4").reshape(12, 8)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
    # Texts find pictures, which are not beside them; nor is another width of use.
    with pytest.raises(ValueError, match="`candidates`: a file of what is found.*Received: none"):
        write_web_page(tower_files["text"], tmp_path / "other", litert=litert)
    narrow = Index()
    narrow.add(["cup.jpg"], np.ones([1, 4]))
    narrow.save(tmp_path / "narrow.npz")
    with pytest.raises(ValueError, match="embeddings of width 8.*Received: width 4"):
        write_web_page(
            tower_files["text"],
            tmp_path / "other",
            litert=litert,
            candidates=tmp_path / "narrow.npz",
        )
    assert not (tmp_path / "other").exists()


def test_other_models_find_nothing(model_file, litert, tmp_path):
    with pytest.raises(ValueError, match="`candidates`: nothing, since this model gives no embed"):
        write_web_page(model_file, tmp_path / "page", litert=litert, candidates=tmp_path / "a.npz")


def test_pictures_of_a_folder_are_made_small_and_named(model_file, litert, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(ValueError, match="`samples`: a folder of pictures.*which has none"):
        write_web_page(model_file, tmp_path / "page", litert=litert, samples=folder)
    Picture.new("RGB", (400, 100), "red").save(folder / "red_cup.jpg")
    (folder / "credit.txt").write_text("Pictures: Ann, CC0.\n")
    page = write_web_page(model_file, tmp_path / "page", litert=litert, samples=folder).parent
    found = json.loads((page / "samples.json").read_text())
    assert found["pictures"] == [{"file": "samples/1.png", "name": "red cup"}]
    assert found["credit"] == "Pictures: Ann, CC0."
    assert Picture.open(page / "samples" / "1.png").size == (160, 40)
    (folder / "broken.png").write_text("no picture")
    with pytest.raises(ValueError, match="broken.png', which can't be read"):
        write_web_page(model_file, tmp_path / "page", litert=litert, samples=folder)


def test_emoji_are_for_models_that_know_their_classes():
    known = ["Animals & Nature", "Food & Drink", "Objects", "Symbols", "Travel & Places"]
    assert not sample_pictures.of_page(None, ["cup", "lamp"]).pictures
    assert len(sample_pictures.of_page(None, known).pictures) == 6


def test_models_of_other_inputs_are_refused(class_names, examples, litert, tmp_path):
    names = ("front", "back")
    pictures = {name: keras.Input([16, 16, 3], dtype="uint8", name=name) for name in names}
    x = [keras.layers.Rescaling(1 / 255)(each) for each in pictures.values()]
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Concatenate()(x))
    model = keras.Model(pictures, keras.layers.Dense(len(class_names))(x))
    content = convert(model, dict.fromkeys(names, examples["image"]))
    path = tmp_path / "student.tflite"
    modalities = {name: Image(name, height=16) for name in names}
    path.write_bytes(
        add_metadata(content, name="m", class_names=class_names, modalities=modalities)
    )
    with pytest.raises(ValueError, match=r"one picture, one text, sounds.*back \(image\)"):
        write_web_page(path, tmp_path / "page", litert=litert)
    assert not (tmp_path / "page").exists()


def test_command_writes_the_page_or_says_what_is_wrong(model_file, litert, tmp_path):
    app = typer.Typer()
    app.command()(web.main)
    options = ["--output", str(tmp_path / "page"), "--litert", str(litert)]
    done = CliRunner().invoke(app, [str(model_file), *options])
    assert done.exit_code == 0, done.output
    assert f"python -m http.server -d {tmp_path / 'page'}" in done.output
    assert (tmp_path / "page" / "index.html").exists()
    done = CliRunner().invoke(app, [str(tmp_path / "none.tflite"), *options])
    assert done.exit_code == 2 and "no such file" in done.output
