"""EfficientNet-Lite 0 to 2: convolutions for phones, with weights learnt on ImageNet.

The checkpoints are PyTorch's, converted from TensorFlow's own. So the arithmetic is TensorFlow's:
padding "same", which for stride 2 is not symmetric, and batch normalisation with epsilon 1e-3. As
Lite has it, activations are ReLU6, nothing squeezes or excites, and stem and head are of one width.

References:
    M. Tan and Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
    Networks", 2019.
    R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020.
"""

import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from mmkd_tf.backbones.backbone import BACKBONES, Backbone
from mmkd_tf.backbones.checkpoint import check_shapes, read_torch, weights_digest
from mmkd_tf.backbones.encoder import PictureEncoder

CODE_VERSION = 1  # raise it with a change of what is computed

STEM_FILTERS, HEAD_FILTERS = 32, 1280
TOP_BLOCKS = 3  # of the last ones, for fine-tuning; with the head
# Repeats, kernel, stride of the first, expansion, filters; as in EfficientNet-B0.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SCALES = {  # by name, of width and depth
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


class _Block(NamedTuple):
    kernel: int
    stride: int
    expansion: int
    filters: int


def load(backbone: Backbone, files: dict[str, Path]) -> PictureEncoder:
    """Makes the encoder of a checkpoint; see `Backbone.load`."""
    (path,) = files.values()
    return make_encoder(backbone, read_torch(path))


def make_encoder(backbone: Backbone, weights: dict[str, np.ndarray]) -> PictureEncoder:
    """Makes the encoder of weights by their names in the checkpoint.

    Raises:
        ValueError: If weights are missing or have other shapes; lists them.
    """
    blocks = _blocks(*SCALES[backbone.name])
    inputs = keras.Input([backbone.size, backbone.size, 3], name=f"{backbone.name}_pixels")
    x = _convolve(inputs, blocks, name=backbone.name)
    x = _conv_norm(x, layers.Conv2D(HEAD_FILTERS, 1, use_bias=False), f"{backbone.name}_head")
    x = layers.ReLU(6, name=f"{backbone.name}_head_relu")(x)
    x = layers.GlobalAveragePooling2D(name=f"{backbone.name}_features")(x)
    model = keras.Model(inputs, x, name=backbone.name)
    _set_weights(model, weights, backbone.name)
    top = [f"{backbone.name}_block{len(blocks) - 1 - number}_" for number in range(TOP_BLOCKS)]
    top = tuple([*top, f"{backbone.name}_head_"])
    trained_on = [layer for layer in model.layers if layer.name.startswith(top)]
    trained_on = [variable for layer in trained_on for variable in layer.trainable_variables]
    model.trainable = False

    def first_blocks(num_blocks: int, *, height: int, width: int, name: str | None) -> keras.Model:
        name = name or backbone.name
        inputs = keras.Input([height, width, 3], dtype="uint8", name=f"{name}_pixels")
        part = keras.Model(inputs, _convolve(inputs, blocks[:num_blocks], name=name), name=name)
        for layer in part.layers:
            if layer.weights:
                own = backbone.name + layer.name.removeprefix(name)
                layer.set_weights(model.get_layer(own).get_weights())
        return part

    # Pictures of another size have other features.
    usual = BACKBONES[backbone.name].size
    size = "" if backbone.size == usual else f" {backbone.size} pixels"
    return PictureEncoder(
        backbone,
        model,
        version=f"{weights_digest(weights)} {CODE_VERSION}{size}",
        blocks=first_blocks,
        block_count=len(blocks),
        top=trained_on,
    )


def _blocks(width: float, depth: float) -> list[_Block]:
    """The blocks one by one; the first and the last stage are not made deeper."""
    blocks = []
    for index, (repeats, kernel, stride, expansion, filters) in enumerate(STAGES):
        if 0 < index < len(STAGES) - 1:
            repeats = math.ceil(depth * repeats)
        filters = _multiple_of_8(filters * width)
        blocks.append(_Block(kernel, stride, expansion, filters))
        blocks += [_Block(kernel, 1, expansion, filters)] * (repeats - 1)
    return blocks


def _multiple_of_8(filters: float) -> int:
    """The nearest multiple of 8 that is not less than nine tenths."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _convolve(inputs, blocks: list[_Block], *, name: str):
    """Scales pixels, and applies the stem and the blocks."""
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name=f"{name}_rescaling")(inputs)
    x = _conv_norm(x, _conv(STEM_FILTERS, 3, strides=2), f"{name}_stem")
    x = layers.ReLU(6, name=f"{name}_stem_relu")(x)
    for index, block in enumerate(blocks):
        x = _inverted_bottleneck(x, block, name=f"{name}_block{index}")
    return x


def _inverted_bottleneck(inputs, block: _Block, *, name: str):
    """Widens, convolves each channel alone, narrows; adds the input where the shapes agree."""
    x, channels = inputs, inputs.shape[-1]
    if block.expansion != 1:
        x = _conv_norm(x, _conv(channels * block.expansion, 1), f"{name}_expand")
        x = layers.ReLU(6, name=f"{name}_expand_relu")(x)
    depthwise = layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same", use_bias=False
    )
    x = _conv_norm(x, depthwise, f"{name}_depthwise")
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(x)
    x = _conv_norm(x, _conv(block.filters, 1), f"{name}_project")
    if block.stride == 1 and channels == block.filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _conv(filters: int, kernel: int, *, strides: int = 1) -> layers.Conv2D:
    return layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)


def _conv_norm(x, convolution: layers.Layer, name: str):
    convolution.name = f"{name}_conv"
    norm = layers.BatchNormalization(epsilon=1e-3, momentum=0.9, name=f"{name}_norm")
    return norm(convolution(x))


def _set_weights(model: keras.Model, weights: dict[str, np.ndarray], name: str) -> None:
    """Gives each layer its weights, after all have been found to fit."""
    wanted: dict[str, tuple[layers.Layer, list[str]]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        key = _checkpoint_name(layer.name.removeprefix(f"{name}_"))
        if isinstance(layer, layers.BatchNormalization):
            keys = [f"{key}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
            expected |= dict.fromkeys(keys, tuple(layer.gamma.shape))
        else:
            keys = [f"{key}.weight"]
            # PyTorch keeps [out, in, rows, columns], of one channel alone [channels, 1, ...].
            rows, columns, first, second = layer.kernel.shape
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            shape = (first, second) if depthwise else (second, first)
            expected[keys[0]] = (*shape, rows, columns)
        wanted[layer.name] = layer, keys
    check_shapes(expected, weights, name=name)
    for layer, keys in wanted.values():
        values = [weights[key] for key in keys]
        if isinstance(layer, layers.DepthwiseConv2D):
            values = [values[0].transpose(2, 3, 0, 1)]
        elif isinstance(layer, layers.Conv2D):
            values = [values[0].transpose(2, 3, 1, 0)]
        layer.set_weights(values)


def _checkpoint_name(layer: str) -> str:
    """`block3_expand_norm` is `_blocks.3._bn0` in the checkpoint, `stem_conv` is `_conv_stem`."""
    block, part, kind = (["", *layer.split("_")])[-3:]
    norms = {"stem": "_bn0", "head": "_bn1", "expand": "_bn0", "depthwise": "_bn1"}
    if block:
        own = norms.get(part, "_bn2") if kind == "norm" else f"_{part}_conv"
        return f"_blocks.{block.removeprefix('block')}.{own}"
    return norms[part] if kind == "norm" else f"_conv_{part}"
