"""A browser, the page that it opens, and what it is given there."""

import os
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from make_page import _LITERT_FILES, write_web_page
from PIL import Image

from mmkd_tf.edge import Encoder, Index
from mmkd_tf.export.convert import convert
from mmkd_tf.export.metadata import add_metadata
from mmkd_tf.export.text_bytes import text_reader
from mmkd_tf.modalities.audio import Audio
from mmkd_tf.modalities.series import Series
from mmkd_tf.modalities.text import Text

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OLDEST_NODE = 20
DRIVER_FILES = ("drive.mjs", "package.json", "package-lock.json")


def missing_tools():
    missing = [name for name in ("node", "npm") if not shutil.which(name)]
    if not missing:
        version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
        if int(version.stdout.strip("v\n").split(".")[0]) < OLDEST_NODE:
            missing.append(f"node {OLDEST_NODE}, not {version.stdout.strip()}")
    return missing + ([] if any(map(shutil.which, BROWSERS)) else ["chromium"])


def give_up(reason):
    if os.environ.get("MMKD_TF_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium():
    missing = missing_tools()
    if missing:
        give_up(f"the browser test needs {', '.join(missing)}")
    return next(filter(None, map(shutil.which, BROWSERS)))


@pytest.fixture(scope="session")
def driver(chromium, tmp_path_factory):
    """A folder with the driver and playwright-core.

    That package drives the Chromium that is there, by a person's events, and sees each request of a
    page; it needs no browser of its own and no program between.
    """
    folder = tmp_path_factory.mktemp("driver")
    for name in DRIVER_FILES:
        shutil.copyfile(Path(__file__).with_name(name), folder / name)
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        give_up(f"npm can't fetch what the browser test needs: {done.stderr}")
    return folder


@pytest.fixture(scope="session")
def page(driver, model_files, tmp_path_factory):
    """The folder of a page as a person gets it, by npm."""
    site = tmp_path_factory.mktemp("site")
    (site / "samples").mkdir()
    Image.new("RGB", (80, 60), "red").save(site / "samples" / "red.png")
    return write_web_page(model_files["one"], site / "page", samples=site / "samples").parent


@pytest.fixture(scope="session")
def litert(page, tmp_path_factory):
    """LiteRT.js as npm installs it, from a page."""
    litert = tmp_path_factory.mktemp("litert") / "core"
    (litert / "dist").mkdir(parents=True)
    (litert / "wasm").mkdir()
    for name in _LITERT_FILES:
        shutil.copyfile(page / "litert" / Path(name).name, litert / name)
    helper = litert / "node_modules" / "@litertjs" / "wasm-utils" / "dist"
    helper.mkdir(parents=True)
    shutil.copyfile(page / "litert" / "wasm-utils.js", helper / "index.js")
    return litert


@pytest.fixture(scope="session")
def search_page(litert, tower_files, tmp_path_factory):
    """The folder of a page that finds texts by pictures."""
    folder = tmp_path_factory.mktemp("search") / "page"
    return write_web_page(tower_files["image"], folder, litert=litert).parent


@pytest.fixture(scope="session")
def signal_file(class_names, tmp_path_factory):
    """A model of a sound and two series, with the students' own encoders."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(1)
    kinds = {"recording": Audio("recording", rate=16_000, seconds=0.5)}
    values, _ = Series.read(list(rng.normal(size=[6, 20, 3])), Series.Options())
    for name in ("acc", "gyro"):
        kinds[name] = Series.fit(name, values, Series.Options(length=16))
    inputs = {name: kind.input() for name, kind in kinds.items()}
    features = [kind.student_encoder(inputs[name]) for name, kind in kinds.items()]
    x = keras.layers.Concatenate()(features)
    model = keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="random_normal")(20 * x))
    series = rng.normal(size=[4, 16, 4]).astype("float32")
    series[..., -1] = 1
    sounds = rng.uniform(-0.5, 0.5, [4, 8000]).astype("float32")
    content = convert(model, {"recording": sounds, "acc": series, "gyro": series})
    path = tmp_path_factory.mktemp("signals") / "student.tflite"
    path.write_bytes(add_metadata(content, name="m", class_names=class_names, modalities=kinds))
    return path


@pytest.fixture(scope="session")
def signal_page(litert, signal_file, tmp_path_factory):
    """The folder of its page."""
    folder = tmp_path_factory.mktemp("signal") / "page"
    return write_web_page(signal_file, folder, litert=litert).parent


@pytest.fixture(scope="session")
def tower_files(model, modalities, examples, tmp_path_factory):
    """A file for pictures and one for texts, of embeddings, and texts to find beside them."""
    folder, files = tmp_path_factory.mktemp("towers"), {}
    for name, modality in modalities.items():
        tensor = model.input[name]
        x = keras.ops.cast(keras.ops.reshape(tensor, [-1, int(np.prod(tensor.shape[1:]))]), float)
        x = keras.layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(3))(x)
        x *= keras.ops.rsqrt(keras.ops.sum(x * x, axis=1, keepdims=True) + 1e-9)
        one = keras.Model({name: tensor}, x)
        content = convert(one, {name: examples[name]}, task="retrieval")
        files[name] = folder / f"student_{name}.tflite"
        described = add_metadata(
            content, name="m", class_names=[], modalities={name: modality}, task="retrieval"
        )
        files[name].write_bytes(described)
    texts = [f"word{number}" for number in range(12)]
    index = Index()
    index.add(texts, Encoder(files["text"]).encode(texts))
    index.save(folder / "student_texts.npz")
    return files


@pytest.fixture(scope="session")
def model_files(model, class_names, modalities, examples, tmp_path_factory):
    """The same model in all forms that an exported file may have, and faulty ones."""
    folder = tmp_path_factory.mktemp("models")
    words = {"modalities": modalities, "author": "Ann", "licence": "Apache-2.0"}
    text = modalities["text"]
    reader = text_reader(text.vocabulary, length=text.length, num_bytes=32)
    wordless = {**modalities, "text": Text(vocabulary=None, length=text.length)}
    forms = {
        "one": ({}, words),
        "bytes": ({"readers": {"text": reader}}, words),
        "two": ({"batch_size": 2}, words),
        "any": ({"batch_size": None}, words),
        "wordless": ({}, {"modalities": wordless}),
        "sure": ({}, words | {"temperature": 1.5}),
        "labels": ({"task": "multi_label"}, words | {"task": "multi_label", "temperature": 1.5}),
        "values": ({"task": "regression"}, words | {"task": "regression"}),
    }
    files, plain = {}, convert(model, examples)
    for name, (options, words) in forms.items():
        files[name] = folder / f"{name}.tflite"
        content = convert(model, examples, **options) if options else plain
        described = add_metadata(content, name="small", class_names=class_names, **words)
        files[name].write_bytes(described)
    content = files["one"].read_bytes()
    damaged = content[:5000] + b"?" + content[5001:]
    for name, faulty in [("cut", content[:9000]), ("damaged", damaged), ("text", b"no model")]:
        files[name] = folder / f"{name}.tflite"
        files[name].write_bytes(faulty)
    return files


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Pictures of many forms: lossless ones by name, and a photograph lying on its side."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(7)
    noise = Image.fromarray(rng.integers(0, 256, (37, 50, 3)).astype("uint8"))
    ramp = np.stack(np.meshgrid(np.arange(2400), np.arange(1900)), axis=-1) // 10
    opacity = np.broadcast_to(np.linspace(0, 255, 40).astype("uint8"), (40, 40))
    clear = Image.fromarray(np.dstack([rng.integers(0, 256, (40, 40, 3)), opacity]).astype("uint8"))
    made = {
        "noise.png": noise,
        "small.png": noise.crop((0, 0, 9, 7)),
        "pixel.png": noise.crop((0, 0, 1, 1)),
        "wide.png": noise.resize((400, 3)),
        "large.png": Image.fromarray(np.dstack([ramp, 255 - ramp[..., :1]]).astype("uint8")),
        "clear.png": clear,
        "palette.png": clear.quantize(32),
        "grey.png": noise.convert("L"),
        "black.png": Image.new("RGB", (30, 30)),
        "noise.bmp": noise,
        "noise.gif": noise.quantize(64),
    }
    for name, image in made.items():
        image.save(folder / name)
    noise.save(folder / "noise.webp", lossless=True)
    sideways = Image.Exif()
    sideways[0x0112] = 6
    photo = noise.resize((300, 200), Image.Resampling.BICUBIC)
    photo.save(folder / "photo.jpg", exif=sideways, quality=95)
    return sorted(folder.iterdir())
