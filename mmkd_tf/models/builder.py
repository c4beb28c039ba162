"""Builder: encoders, fusion and head as one Functional model that gives logits or values."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import keras
from keras import layers

from mmkd_tf.modalities.modality import Modality, chosen, student_inputs, teacher_inputs
from mmkd_tf.models.fusion import Concatenation, Presence
from mmkd_tf.models.modality_dropout import ModalityDropout
from mmkd_tf.models.seeding import keeping
from mmkd_tf.models.two_tower import (
    EMBEDDING_DIM,
    check_towers,
    check_width,
    embedding_of,
    pair_of,
)
from mmkd_tf.tasks import DEFAULT_TASK, find_task

MODALITY_DROPOUT = 0.1

Rates = float | Mapping[str, float]
Encoders = Mapping[str, keras.Model | Sequence[keras.Model]]
Tensors = dict[str, keras.KerasTensor]


class DatasetLike(Protocol):
    """What a model must know of the data; every `mmkd_tf.data.Dataset` has it.

    Two more are asked for where they are there: `task`, a `Task` or the name of one,
    single_label by default; and of numbers `target_statistics`, mean and standard deviation of
    each training target.
    """

    @property
    def modalities(self) -> dict[str, Modality]: ...

    @property
    def num_classes(self) -> int: ...


def build_teacher(
    dataset: DatasetLike,
    *,
    fusion: layers.Layer | None = None,
    inputs: Collection[str] | None = None,
    modality_dropout: Rates = MODALITY_DROPOUT,
    encoders: Encoders | None = None,
    embedding_dim: int = EMBEDDING_DIM,
) -> keras.Model:
    """Builds the large model.

    Args:
        dataset: Anything with `modalities` and `num_classes`, as a `Dataset` has; see
            `DatasetLike`.
        fusion: A fusion layer of `mmkd_tf.models`; `Concatenation()` by default. Not of a
            pairwise task, whose inputs are encoded apart.
        inputs: Names of the inputs to read; all by default.
        modality_dropout: How often an input is left out in training, 0 to 1, for all or by name;
            see `ModalityDropout`. Not of a pairwise task.
        encoders: By name of an input, a Keras model of your own in place of the built-in encoder,
            such as one of keras.applications. It is called on the input in tensor form (a
            picture: uint8, 0 to 255), so it scales by itself; maps `[batch, height, width, dim]`
            and sequences `[batch, steps, dim]` that it gives are averaged. The model has its
            weights and its `trainable`; `mmkd_tf.models.seeding.seeded` keeps them. Or a list of
            models, called one after the other.
        embedding_dim: Of a task of embeddings, width of their space, in which of a pairwise task
            both inputs lie; teacher and student need the same.

    Returns:
        A Functional model: a dict of inputs by name -> logits `[batch, num_classes]`, or values
        in the targets' units where the dataset has `target_statistics`. Its layers
        `<input>_features` give the encoders' features. Of a pairwise task it gives
        `[batch, 2 * embedding_dim]`, see `mmkd_tf.models.two_tower`, and its layers
        `<input>_embedding` give float32 `[batch, embedding_dim]` of length 1, or zeros where the
        input is absent. Of the task `embedding` it gives such an embedding of all inputs together.

    Raises:
        ValueError: If the dataset lacks an input, an encoder does not fit, or a pairwise task has
            a fusion, not exactly two inputs or no width above 0.

    References:
        Radford et al.: Learning Transferable Visual Models From Natural Language Supervision,
        2021 (CLIP, for pairwise tasks).
    """
    parts = _Parts(dataset, "teacher", inputs, encoders)
    return parts.model(fusion, modality_dropout, embedding_dim, dropout=0.5)


def build_student(
    dataset: DatasetLike,
    *,
    fusion: layers.Layer | None = None,
    inputs: Collection[str] | None = None,
    modality_dropout: Rates = MODALITY_DROPOUT,
    encoders: Encoders | None = None,
    embedding_dim: int = EMBEDDING_DIM,
) -> keras.Model:
    """Builds the small model.

    It has at most 1/20 of the teacher's parameters, up to 200 classes or a width of 64. Arguments,
    result and errors are those of `build_teacher`; it reads the student's forms of the inputs.
    """
    # With many classes the last layer would be most of the student: then it has low rank.
    head_dim = 16 if getattr(dataset, "num_classes", 0) > 20 else None
    parts = _Parts(dataset, "student", inputs, encoders)
    return parts.model(fusion, modality_dropout, embedding_dim, head_dim=head_dim)


class _Parts:
    """What a model is made of, checked: its task, its inputs, and their encoders."""

    def __init__(self, dataset, role: str, names: Collection[str] | None, encoders):
        there = (teacher_inputs if role == "teacher" else student_inputs)(dataset.modalities)
        self.dataset, self.role = dataset, role
        self.encoders = {
            name: list(parts) if isinstance(parts, list | tuple) else [parts]
            for name, parts in (encoders or {}).items()
        }
        self.task = find_task(getattr(dataset, "task", DEFAULT_TASK))
        self.modalities = there if names is None else chosen(there, names, argument="inputs")
        self.given = {name: modality.input() for name, modality in self.modalities.items()}
        problems = [
            f"`dataset`: modalities by their own names. Received: '{tensor.name}' as '{name}'."
            for name, tensor in self.given.items()
            if tensor.name != name
        ]
        for name, parts in self.encoders.items():
            given = self.given.get(name)
            for part in parts:
                ranks = (2, 3, 4) if part is parts[-1] else (2, 3, 4, 5)
                found = _encoder_problems(name, part, given, list(self.given), ranks)
                problems += found
                if found:
                    break
                given = part.outputs[0]
        if problems:
            raise ValueError("\n".join(problems))

    def model(self, fusion, rates, embedding_dim, *, dropout=0.0, head_dim=None) -> keras.Model:
        if self.task.is_pairwise:
            check_towers(list(self.given), embedding_dim)
            if fusion is not None:
                raise ValueError(
                    f"`fusion`: none for {self.task.name}, whose inputs are encoded apart. "
                    f"Received: {type(fusion).__name__}."
                )
            pair = pair_of(*self._encoded(self.given), embedding_dim)
            return self._whole(pair)
        fusion = fusion or Concatenation(name="fusion")
        tokens = getattr(fusion, "takes_tokens", False)
        features, presence = self._encoded(self._kept(rates), tokens=tokens)
        fused = fusion(features, presence)
        fused = layers.Activation("linear", name="fused_features")(fused)
        if dropout:
            fused = layers.Dropout(dropout, name="fused_dropout")(fused)
        if self.task.gives_embeddings:
            if problems := check_width(embedding_dim):
                raise ValueError(*problems)
            return self._whole(embedding_of(fused, [*presence.values()], embedding_dim))
        if head_dim:
            fused = layers.Dense(head_dim, use_bias=False, name="head_bottleneck")(fused)
        # Logits in float32 also under mixed precision: a softmax over half precision loses classes.
        logits = layers.Dense(self.dataset.num_classes, dtype="float32", name="logits")(fused)
        return self._whole(self.task.head(logits, getattr(self.dataset, "target_statistics", None)))

    def _whole(self, outputs) -> keras.Model:
        model = keras.Model(self.given, outputs, name=self.role)
        return keeping(model, [part.name for parts in self.encoders.values() for part in parts])

    def _kept(self, rates: Rates) -> Tensors:
        """The inputs as encoders see them in training, where some may be left out."""
        rates = rates if isinstance(rates, Mapping) else dict.fromkeys(self.given, rates)
        rates = {name: rate for name, rate in rates.items() if name in self.given}
        if len(self.given) < 2 or not any(rates.values()):
            return self.given
        return ModalityDropout(rates, name="modality_dropout")(self.given)

    def _encoded(self, values: Tensors, *, tokens: bool = False) -> tuple[Tensors, Tensors]:
        """Features and presence by name, as a fusion takes them; with tokens where there are."""
        features, presence = {}, {}
        for name, modality in self.modalities.items():
            presence[name] = Presence(name=f"{name}_presence")(values[name])
            by_token = getattr(modality, f"{self.role}_tokens", None)
            if name in self.encoders:
                features[name] = _encoded_by(self.encoders[name], name, values[name])
            elif tokens and by_token:
                features[name], presence[name] = by_token(values[name], presence[name])
            else:
                features[name] = getattr(modality, f"{self.role}_encoder")(values[name])
        return features, presence


def _encoder_problems(
    name: str, encoder, values, inputs: list[str], ranks: Collection[int]
) -> list[str]:
    """What is wrong with a model that is to be called on `values`, None if there is no such."""
    if values is None:
        return [f"`encoders`: models of the inputs {inputs}. Received: one of '{name}'."]
    if not isinstance(encoder, keras.Model) or not getattr(encoder, "inputs", None):
        return [
            f"`encoders['{name}']`: a Functional or Sequential keras.Model that is built. "
            f"Received: {type(encoder).__name__}."
        ]
    if len(encoder.inputs) != 1 or len(encoder.outputs) != 1:
        return [
            f"`encoders['{name}']`: one input and one output. Received: {len(encoder.inputs)} and "
            f"{len(encoder.outputs)}."
        ]
    problems = []
    wanted, given = tuple(encoder.inputs[0].shape), tuple(values.shape)
    if len(wanted) != len(given) or any(
        want not in (None, size) for want, size in zip(wanted[1:], given[1:], strict=False)
    ):
        problems.append(
            f"`encoders['{name}']`: an input of shape {list(given)}, as the data have it. "
            f"Received: {list(wanted)}. Read the data in the encoder's size, or build it for this."
        )
    shape = tuple(encoder.outputs[0].shape)
    if len(shape) not in ranks or shape[-1] is None:
        problems.append(
            f"`encoders['{name}']`: features [batch, dim], [batch, steps, dim] or [batch, height, "
            f"width, dim] of known dim. Received: {list(shape)}."
        )
    return problems


def _encoded_by(parts: Sequence[keras.Model], name: str, values) -> keras.KerasTensor:
    """Features of models one after the other, `[batch, dim]`, by the layer `<name>_features`."""
    features = values
    for part in parts:
        features = part(features)
    pooling = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D}
    if len(features.shape) in pooling:
        features = pooling[len(features.shape)](name=f"{name}_pooling")(features)
    return layers.Activation("linear", name=f"{name}_features")(features)


def baseline_teacher(num_classes: int = 10) -> keras.Model:
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
    return keras.Model({"image": image, "text": text}, logits, name="baseline_teacher")


document_teacher = baseline_teacher  # its old name
