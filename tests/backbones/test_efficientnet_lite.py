"""EfficientNet-Lite0 against its arithmetic in NumPy, and its first blocks against itself."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from mmkd_tf.backbones import find_backbone
from mmkd_tf.backbones.checkpoint import read_torch
from mmkd_tf.backbones.efficientnet_lite import SCALES, _blocks, make_encoder
from mmkd_tf.backbones.weight_files import find_files


@pytest.fixture(scope="module")
def backbone():
    # Small pictures are quicker; the weights are the same.
    return replace(find_backbone("efficientnet_lite0"), size=64)


@pytest.fixture(scope="module")
def weights(backbone):
    return read_torch(*find_files(backbone.name, backbone.package).values())


@pytest.fixture(scope="module")
def encoder(backbone, weights):
    return make_encoder(backbone, weights)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, [3, 64, 64, 3]).astype(np.uint8)


def convolve(x, kernel, stride):
    """Float `[rows, columns, in]` by PyTorch's kernel, with TensorFlow's padding "same"."""
    size = kernel.shape[-1]
    padding = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[:2]]
    x = np.pad(x, [(p // 2, p - p // 2) for p in padding] + [(0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
    windows = windows[::stride, ::stride]  # [rows, columns, in, size, size]
    if kernel.shape[1] == 1 and kernel.shape[0] == x.shape[2]:
        return np.einsum("rcihw,ihw->rci", windows, kernel[:, 0])
    return np.einsum("rcihw,oihw->rco", windows, kernel)


def reference(picture, weights):
    """The features of one picture, written out in NumPy."""

    def norm(x, name):
        gain, bias, mean, variance = (
            weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gain + bias

    def conv_norm(x, conv, norm_name, stride=1):
        return norm(convolve(x, weights[f"{conv}.weight"], stride), norm_name)

    relu6 = lambda x: np.clip(x, 0, 6)  # noqa: E731
    x = (picture.astype(np.float64) - 127) / 128
    x = relu6(conv_norm(x, "_conv_stem", "_bn0", 2))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for index, stride in enumerate(strides):
        block, before = f"_blocks.{index}.", x
        if index:
            x = relu6(conv_norm(x, f"{block}_expand_conv", f"{block}_bn0"))
        x = relu6(conv_norm(x, f"{block}_depthwise_conv", f"{block}_bn1", stride))
        x = conv_norm(x, f"{block}_project_conv", f"{block}_bn2")
        if x.shape == before.shape:
            x = x + before
    return relu6(conv_norm(x, "_conv_head", "_bn1")).mean((0, 1))


def test_equals_its_arithmetic_in_numpy(encoder, weights, pictures):
    features = np.asarray(encoder.model(pictures))
    expected = reference(pictures[0], weights)
    np.testing.assert_allclose(features[0], expected, atol=1e-3 * expected.max())
    as_float = np.asarray(encoder.model(pictures.astype(np.float32)))
    np.testing.assert_allclose(as_float, features, atol=1e-5)
    unit = expected / np.linalg.norm(expected)
    np.testing.assert_allclose(encoder.features(pictures)[0], unit, atol=1e-4)


def test_pictures_of_any_size_have_features_of_unit_length(encoder):
    values = np.random.default_rng(1).integers(0, 256, [3, 90, 40, 3]).astype(np.uint8)
    values[1] = 0
    features = encoder.features(values, batch_size=1)
    assert features.dtype == np.float32 and features.shape == (3, 1280)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), [1, 0, 1], atol=1e-6)
    assert encoder.features(values[:0]).shape == (0, 1280)


def test_first_blocks_are_those_of_the_whole(encoder, pictures):
    part = encoder.first_blocks(5, height=64, name="photo")
    assert all(layer.name.startswith("photo_") for layer in part.layers)
    assert part.input.dtype == "uint8" and part.count_params() == 58_416
    whole = keras.Model(
        encoder.model.input, encoder.model.get_layer("efficientnet_lite0_block4_add").output
    )
    np.testing.assert_allclose(part(pictures), whole(pictures), atol=1e-4)
    norms = [one for one in part.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert part.trainable_variables and all(norm.momentum == 0.9 for norm in norms)


def test_first_blocks_are_copies_and_work_at_other_sizes(encoder, pictures):
    before = np.asarray(encoder.model(pictures))
    part = encoder.first_blocks(2, height=33, width=48)
    assert part.output.shape == (None, 9, 12, 24)
    for variable in part.variables:
        variable.assign(variable * 0 + 1)
    np.testing.assert_array_equal(encoder.model(pictures), before)
    assert encoder.first_blocks(0, height=32).output.shape == (None, 16, 16, 32)


def test_first_blocks_names_what_is_out_of_range(encoder):
    with pytest.raises(ValueError, match="num_blocks=17") as error:
        encoder.first_blocks(17, height=31)
    assert "at least 32 pixels" in str(error.value)


def test_refuses_other_pictures(encoder, pictures):
    with pytest.raises(TypeError, match="dtype=float64"):
        encoder.features(pictures / 255)
    with pytest.raises(ValueError, match=r"shape=\(64, 64, 3\)"):
        encoder.features(pictures[0])


def test_fingerprint_follows_the_weights(backbone, encoder, weights):
    assert make_encoder(backbone, weights).fingerprint == encoder.fingerprint
    changed = weights | {"_bn1.bias": weights["_bn1.bias"] + 1}
    assert make_encoder(backbone, changed).fingerprint != encoder.fingerprint


def test_fingerprint_follows_the_size_of_pictures(backbone, encoder, weights):
    sizes = (32, find_backbone(backbone.name).size)
    others = {make_encoder(replace(backbone, size=n), weights).fingerprint for n in sizes}
    assert len(others | {encoder.fingerprint}) == 3


def test_refuses_weights_of_another_shape(backbone, weights):
    wrong = weights | {"_conv_stem.weight": np.zeros([32, 3, 5, 5], np.float32)}
    del wrong["_bn0.bias"]
    with pytest.raises(ValueError, match=r"_conv_stem.weight of shape \(32, 3, 3, 3\)") as error:
        make_encoder(backbone, wrong)
    assert "_bn0.bias of shape (32,). Received: none." in str(error.value)


def test_larger_ones_are_deeper_and_wider():
    # Blocks, and filters of the last one, as the checkpoints have them.
    found = {name: _blocks(*scale) for name, scale in SCALES.items()}
    assert [len(blocks) for blocks in found.values()] == [16, 21, 21]
    assert [blocks[-1].filters for blocks in found.values()] == [320, 320, 352]
    assert found["efficientnet_lite2"][4].filters == 48


def test_the_last_blocks_and_the_head_are_the_top(encoder):
    names = {variable.path.split("/")[0] for variable in encoder.tunable("top")}
    blocks = {name.split("_")[2] for name in names}
    assert blocks == {"block13", "block14", "block15", "head"} and encoder.block_count == 16
    assert len(encoder.tunable("all")) > len(encoder.tunable("top"))
    assert not encoder.model.trainable_variables
