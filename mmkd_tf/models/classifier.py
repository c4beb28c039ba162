"""Models: encoders, fusion and head as one Functional model that gives logits or values."""

from collections.abc import Collection, Mapping
from typing import Protocol

import keras
from keras import layers

from mmkd_tf.modalities.forms import student_forms, teacher_forms
from mmkd_tf.modalities.modality import Modality, chosen
from mmkd_tf.models.encoding import encode
from mmkd_tf.models.fusion import Concatenation
from mmkd_tf.models.modality_dropout import ModalityDropout

MODALITY_DROPOUT = 0.1

Rates = float | Mapping[str, float]


class Task(Protocol):
    """What a model must know of the data; every `mmkd_tf.data.Dataset` has it."""

    modalities: dict[str, Modality]
    num_classes: int
    # Of regression only: mean and standard deviation of each training target.
    target_statistics: tuple | None = None


def build_teacher(
    dataset: Task,
    *,
    fusion: layers.Layer | None = None,
    modalities: Collection[str] | None = None,
    modality_dropout: Rates = MODALITY_DROPOUT,
) -> keras.Model:
    """Builds the large model.

    Args:
        dataset: Anything with `modalities` and `num_classes`, as a `Dataset` has; see `Task`.
        fusion: A fusion layer of `mmkd_tf.models.fusion`; `Concatenation()` by default.
        modalities: Names of the modalities to read; all by default.
        modality_dropout: How often a modality is left out in training, 0 to 1, for all or by
            name; see `ModalityDropout`.

    Returns:
        A Functional model: a dict of inputs by modality -> logits `[batch, num_classes]`, or
        values in the targets' units where the dataset has `target_statistics`.

    Raises:
        ValueError: If the dataset lacks a modality.
    """
    read = _chosen(teacher_forms(dataset.modalities), modalities)
    inputs = _Inputs(read, modality_dropout)
    return _classifier(dataset, inputs, "teacher", fusion, dropout=0.5)


def build_student(
    dataset: Task,
    *,
    fusion: layers.Layer | None = None,
    modalities: Collection[str] | None = None,
    modality_dropout: Rates = MODALITY_DROPOUT,
) -> keras.Model:
    """Builds the small model, at most 1/20 of the teacher's parameters up to 200 classes.

    Args:
        dataset: Anything with `modalities` and `num_classes`, as a `Dataset` has; see `Task`.
        fusion: A fusion layer of `mmkd_tf.models.fusion`; `Concatenation()` by default.
        modalities: Names of the modalities to read; all by default.
        modality_dropout: How often a modality is left out in training, 0 to 1, for all or by
            name; see `ModalityDropout`.

    Returns:
        A Functional model: a dict of inputs by modality -> logits `[batch, num_classes]`, or
        values in the targets' units where the dataset has `target_statistics`.

    Raises:
        ValueError: If the dataset lacks a modality.
    """
    # With many classes the last layer would be most of the student: then it has low rank.
    head_dim = 16 if dataset.num_classes > 20 else None
    read = _chosen(student_forms(dataset.modalities), modalities)
    inputs = _Inputs(read, modality_dropout)
    return _classifier(dataset, inputs, "student", fusion, head_dim=head_dim)


def _chosen(there, names):
    """The modalities of these names, in the dataset's order."""
    return there if names is None else chosen(there, names, argument="modalities")


class _Inputs:
    """The inputs of a model, and the same as its encoders see them in training."""

    def __init__(self, modalities: Mapping[str, Modality], rates: Rates):
        self.modalities = modalities
        self.given = {name: modality.input() for name, modality in modalities.items()}
        self.kept = self.given
        rates = rates if isinstance(rates, Mapping) else dict.fromkeys(modalities, rates)
        rates = {name: rate for name, rate in rates.items() if name in modalities}
        if len(modalities) > 1 and any(rates.values()):
            self.kept = ModalityDropout(rates, name="modality_dropout")(self.given)


def _classifier(dataset, inputs, role, fusion, *, dropout=0.0, head_dim=None):
    fusion = fusion or Concatenation(name="fusion")
    features, presence = encode(inputs.modalities, inputs.kept, role=role, fusion=fusion)
    fused = fusion(features, presence)
    fused = layers.Activation("linear", name="fused_features")(fused)
    if dropout:
        fused = layers.Dropout(dropout, name="fused_dropout")(fused)
    if head_dim:
        fused = layers.Dense(head_dim, use_bias=False, name="head_bottleneck")(fused)
    # Logits in float32 also under mixed precision: a softmax over half precision loses classes.
    logits = layers.Dense(dataset.num_classes, dtype="float32", name="logits")(fused)
    statistics = getattr(dataset, "target_statistics", None)
    if statistics is not None:
        # The layers see targets of mean 0 and deviation 1, people see their own units.
        mean, deviation = (values.tolist() for values in statistics)
        logits = layers.Rescaling(deviation, offset=mean, dtype="float32", name="values")(logits)
    return keras.Model(inputs.given, logits, name=role)


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
