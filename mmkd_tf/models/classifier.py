"""Classifiers: encoders, fusion and head as one Functional model that gives logits."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import keras
from keras import layers

from mmkd_tf.modalities.forms import student_forms, teacher_forms
from mmkd_tf.modalities.modality import Modality
from mmkd_tf.models.fusion import Concatenation, Presence
from mmkd_tf.models.modality_dropout import ModalityDropout

# Measured on three sets (studies/absence): models then answer from one input alone, and lose
# nothing that can be seen where both are there.
MODALITY_DROPOUT = 0.1

Rates = float | Mapping[str, float]


class Task(Protocol):
    """What a model must know of the data; every `mmkd_tf.data.Dataset` has it."""

    modalities: dict[str, Modality]
    num_classes: int


def build_teacher(
    dataset: Task,
    *,
    modalities: Sequence[str] | None = None,
    fusion: layers.Layer | None = None,
    modality_dropout: Rates = MODALITY_DROPOUT,
) -> keras.Model:
    """Builds the large model.

    Args:
        dataset: Anything with `modalities` and `num_classes`, as a `Dataset` has.
        modalities: Names of those that the model reads; all that the data has by default.
        fusion: A fusion layer of `mmkd_tf.models.fusion`; `Concatenation()` by default.
        modality_dropout: How often a modality is left out in training, 0 to 1, for all or by
            name; see `ModalityDropout`.

    Returns:
        A Functional model: a dict of inputs by modality -> logits `[batch, num_classes]`.

    Raises:
        ValueError: If `modalities` names none, or others than there are.
    """
    chosen = _choose(teacher_forms(dataset.modalities), modalities)
    inputs = {name: modality.input() for name, modality in chosen.items()}
    kept = _with_dropout(inputs, modality_dropout)
    features = {name: m.teacher_encoder(kept[name]) for name, m in chosen.items()}
    fused = _fused(kept, features, fusion)
    fused = layers.Dropout(0.5, name="fused_dropout")(fused)
    return keras.Model(inputs, _logits(fused, dataset), name="teacher")


def build_student(
    dataset: Task,
    *,
    modalities: Sequence[str] | None = None,
    fusion: layers.Layer | None = None,
    modality_dropout: Rates = MODALITY_DROPOUT,
) -> keras.Model:
    """Builds the small model, at most 1/20 of the teacher's parameters up to 200 classes.

    Args:
        dataset: Anything with `modalities` and `num_classes`, as a `Dataset` has.
        modalities: Names of those that the model reads; all that the data has by default.
        fusion: A fusion layer of `mmkd_tf.models.fusion`; `Concatenation()` by default.
        modality_dropout: How often a modality is left out in training, 0 to 1, for all or by
            name; see `ModalityDropout`.

    Returns:
        A Functional model: a dict of inputs by modality -> logits `[batch, num_classes]`.

    Raises:
        ValueError: If `modalities` names none, or others than there are.
    """
    chosen = _choose(student_forms(dataset.modalities), modalities)
    inputs = {name: modality.input() for name, modality in chosen.items()}
    kept = _with_dropout(inputs, modality_dropout)
    features = {name: m.student_encoder(kept[name]) for name, m in chosen.items()}
    fused = _fused(kept, features, fusion)
    if dataset.num_classes > 20:
        # With many classes the last layer would be most of the student: then it has low rank.
        fused = layers.Dense(16, use_bias=False, name="head_bottleneck")(fused)
    return keras.Model(inputs, _logits(fused, dataset), name="student")


def _choose(there: Mapping[str, Modality], names: Sequence[str] | None) -> dict[str, Modality]:
    if names is None:
        return dict(there)
    if isinstance(names, str) or not names or not set(names) <= set(there):
        raise ValueError(
            f"`modalities`: a list of one or more of {list(there)}. Received: modalities={names!r}."
        )
    return {name: modality for name, modality in there.items() if name in names}


def _with_dropout(inputs, rates: Rates):
    if not isinstance(rates, Mapping):
        rates = dict.fromkeys(inputs, rates)
    if len(inputs) < 2 or not any(rates.values()):
        return inputs
    return ModalityDropout(rates, name="modality_dropout")(inputs)


def _fused(inputs, features, fusion: layers.Layer | None):
    presence = {name: Presence(name=f"{name}_presence")(inputs[name]) for name in inputs}
    fused = (fusion or Concatenation(name="fusion"))(features, presence)
    return layers.Activation("linear", name="fused_features")(fused)


def _logits(fused, dataset: Task):
    # Logits in float32 also under mixed precision: a softmax over half precision loses classes.
    return layers.Dense(dataset.num_classes, dtype="float32", name="logits")(fused)


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
