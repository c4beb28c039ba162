"""Classifiers: encoders, fusion and head as one Functional model that gives logits."""

from collections.abc import Collection
from typing import Protocol

import keras
from keras import layers

from mmkd_tf.modalities.modality import Modality
from mmkd_tf.models.encoding import encode
from mmkd_tf.models.fusion import Concatenation


class Task(Protocol):
    """What a model must know of the data; every `mmkd_tf.data.Dataset` has it."""

    modalities: dict[str, Modality]
    num_classes: int


def build_teacher(
    dataset: Task,
    *,
    fusion: layers.Layer | None = None,
    modalities: Collection[str] | None = None,
) -> keras.Model:
    """Builds the large model.

    Args:
        dataset: Anything with `modalities` and `num_classes`, as a `Dataset` has.
        fusion: A fusion layer of `mmkd_tf.models.fusion`; `Concatenation()` by default.
        modalities: Names of the modalities to read; all by default.

    Returns:
        A Functional model: a dict of inputs by modality -> logits `[batch, num_classes]`.

    Raises:
        ValueError: If the dataset lacks a modality.
    """
    read = _chosen(dataset, modalities)
    return _classifier(dataset, read, "teacher", fusion, dropout=0.5)


def build_student(
    dataset: Task,
    *,
    fusion: layers.Layer | None = None,
    modalities: Collection[str] | None = None,
) -> keras.Model:
    """Builds the small model, at most 1/20 of the teacher's parameters up to 200 classes.

    Args:
        dataset: Anything with `modalities` and `num_classes`, as a `Dataset` has.
        fusion: A fusion layer of `mmkd_tf.models.fusion`; `Concatenation()` by default.
        modalities: Names of the modalities to read; all by default.

    Returns:
        A Functional model: a dict of inputs by modality -> logits `[batch, num_classes]`.

    Raises:
        ValueError: If the dataset lacks a modality.
    """
    # With many classes the last layer would be most of the student: then it has low rank.
    head_dim = 16 if dataset.num_classes > 20 else None
    return _classifier(dataset, _chosen(dataset, modalities), "student", fusion, head_dim=head_dim)


def _chosen(dataset, names):
    """The modalities of these names, in the dataset's order."""
    there = dataset.modalities
    if names is None:
        return there
    unknown = [name for name in names if name not in there]
    if isinstance(names, str) or unknown or not names:
        raise ValueError(
            f"`modalities`: a list of one or more of {list(there)}, which the dataset has. "
            f"Received: modalities={names!r}."
        )
    return {name: modality for name, modality in there.items() if name in names}


def _classifier(dataset, modalities, role, fusion, *, dropout=0.0, head_dim=None):
    fusion = fusion or Concatenation(name="fusion")
    inputs = {key: modality.input() for key, modality in modalities.items()}
    features, presence = encode(modalities, inputs, role=role, fusion=fusion)
    fused = fusion(features, presence)
    fused = layers.Activation("linear", name="fused_features")(fused)
    if dropout:
        fused = layers.Dropout(dropout, name="fused_dropout")(fused)
    if head_dim:
        fused = layers.Dense(head_dim, use_bias=False, name="head_bottleneck")(fused)
    # Logits in float32 also under mixed precision: a softmax over half precision loses classes.
    logits = layers.Dense(dataset.num_classes, dtype="float32", name="logits")(fused)
    return keras.Model(inputs, logits, name=role)


def document_teacher(num_classes: int = 10) -> keras.Model:
    """Builds the teacher of the written method: 4,644,042 parameters for ten classes.

    Image 224 x 224 x 3: Conv2D 32 3x3 relu, max pooling 2, Conv2D 64 3x3 relu, max pooling 2,
    flatten. Text of 100 ids out of 10,000: Embedding 256, LSTM 128. Then concatenation and a
    dense layer. It differs from the written form in giving logits, where that has a softmax;
    and padding is masked, so that a short text is not drowned.

    Args:
        num_classes: Number of classes.

    Returns:
        A Functional model with inputs `image` and `text`.
    """
    image = keras.Input([224, 224, 3], dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="image_rescaling")(image)
    x = layers.Conv2D(32, 3, activation="relu", name="image_conv0")(x)
    x = layers.MaxPooling2D(2, name="image_pool0")(x)
    x = layers.Conv2D(64, 3, activation="relu", name="image_conv1")(x)
    x = layers.MaxPooling2D(2, name="image_pool1")(x)
    image_features = layers.Flatten(name="image_features")(x)

    text = keras.Input([100], dtype="int32", name="text")
    x = layers.Embedding(10000, 256, mask_zero=True, name="text_embedding")(text)
    text_features = layers.LSTM(128, name="text_features")(x)

    fused = layers.Concatenate(name="fused_features")([image_features, text_features])
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(fused)
    return keras.Model({"image": image, "text": text}, logits, name="document_teacher")
