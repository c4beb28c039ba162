"""Fine-tuning: pretrained encoders are trained on with a head, where validation gains by it."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.data.pretrained import FeatureVector, form_of_teacher, with_pretrained
from mmkd_tf.distill.cross_fitting import head_recipe
from mmkd_tf.distill.epochs import DivergedError
from mmkd_tf.distill.training import Recipe, train
from mmkd_tf.files.whole import whole_file
from mmkd_tf.modalities.picture_files import resized
from mmkd_tf.models.builder import build_teacher
from mmkd_tf.models.seeding import seeded

# A tenth of a teacher's learning rate: the weights are good already.
FINETUNING_RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=2e-4)


@dataclass(frozen=True)
class Finetuning:
    """What became of it.

    Attributes:
        frozen_loss: On validation, of a head on the encoders as they were, in nats.
        tuned_loss: The same after both were trained on.
        kept: Whether the encoders are tuned now, since the loss fell; else they are as before.
    """

    frozen_loss: float
    tuned_loss: float

    @property
    def kept(self) -> bool:
        return self.tuned_loss < self.frozen_loss

    def describe(self) -> dict[str, float | bool | None]:
        """Gives what `results.json` holds; None is a loss that is not finite."""
        losses = {"frozen_loss": self.frozen_loss, "tuned_loss": self.tuned_loss}
        finite = {name: loss if np.isfinite(loss) else None for name, loss in losses.items()}
        return {**finite, "kept": self.kept}


def finetune(
    dataset: Dataset,
    encoders: Mapping[str, Sequence[Encoder]],
    *,
    part: str = "top",
    recipe: Recipe = FINETUNING_RECIPE,
    seed: int = 0,
    folder: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Finetuning:
    """Trains encoders on in place, with a head that was trained on their features before.

    The head reads raw pictures and texts through them, at the encoders' own size, with augmented
    pictures where the recipe says so. Batch normalisation keeps its statistics. Where the
    validation loss does not fall the encoders get back the weights that they had.

    Features are to be computed anew then, and heads cross-fitted on them, see
    `mmkd_tf.distill.cross_fitting`. Cross-fitting covers these heads alone: the encoders have seen
    all training rows, so that a head's answer on a row that it has not seen is a little too good.

    Args:
        dataset: The data, as it is before `with_pretrained`.
        encoders: By name of an input, loaded backbones, which nothing else uses: they change, and
            their fingerprint with them.
        part: What is trained on: "top", the last blocks, or "all".
        recipe: How both are trained on.
        seed: Seed of the head's first weights, of order, dropout and augmentation.
        folder: Where frozen features are kept; None keeps none.
        callbacks: Keras callbacks of both trainings.

    Returns:
        The validation losses.

    Raises:
        ValueError: If an encoder has no such weights; lists all of them.
    """
    chosen = _chosen(encoders, part)
    features = with_pretrained(dataset, encoders, folder=folder)
    features = features.seen_by(teacher=True).only(list(encoders))
    head = seeded(build_teacher(features), seed=seed)
    train(head, features, head_recipe(dataset.sizes["train"], seed=seed), callbacks=callbacks)
    data, whole = _raw(dataset, encoders), _through(dataset, encoders, head)
    before = {key: [variable.numpy() for variable in found] for key, found in chosen.items()}
    frozen_loss = _validation_loss(whole, data)
    _train_alone(encoders, chosen)
    try:
        train(whole, data, replace(recipe, seed=seed), callbacks=callbacks)
    except DivergedError:
        tuned_loss = np.inf
    else:
        tuned_loss = _validation_loss(whole, data)
    for of_input in encoders.values():
        for encoder in of_input:
            encoder.model.trainable = False
    found = Finetuning(frozen_loss, tuned_loss)
    for (name, number), variables in chosen.items():
        if found.kept:
            encoders[name][number].tune(part, [variable.numpy() for variable in variables])
            continue
        for variable, value in zip(variables, before[name, number], strict=True):
            variable.assign(value)
    return found


def write_tuned(
    file: Path,
    found: Finetuning,
    encoders: Mapping[str, Sequence[Encoder]],
    *,
    part: str,
) -> None:
    """Writes what became of a fine-tuning, for `read_tuned`: losses, and weights that are kept.

    Args:
        file: Where to, `.npz`; its folder is there.
        found: What `finetune` gave.
        encoders: Those that it has changed.
        part: What of them.
    """
    weights = {}
    if found.kept:
        for (name, number), variables in _chosen(encoders, part).items():
            for at, variable in enumerate(variables):
                weights[f"{_key(name, number)}_{at}"] = variable.numpy()
    with whole_file(file) as unfinished:
        np.savez(unfinished, losses=[found.frozen_loss, found.tuned_loss], **weights)


def read_tuned(
    file: Path, encoders: Mapping[str, Sequence[Encoder]], *, part: str
) -> Finetuning | None:
    """Gives encoders the weights that `write_tuned` wrote, as `finetune` left them.

    Args:
        file: What it wrote.
        encoders: The same backbones, loaded anew.
        part: What of them.

    Returns:
        What became of it; None where there is no such file, and the encoders stay as they are.
    """
    if not file.is_file():
        return None
    chosen = _chosen(encoders, part)
    try:
        with np.load(file) as kept:
            found = Finetuning(*map(float, kept["losses"]))
            tuned = {
                key: [kept[f"{_key(*key)}_{at}"] for at in range(len(variables))]
                for key, variables in chosen.items()
                if found.kept
            }
        fits = all(
            value.shape == tuple(variable.shape)
            for key, values in tuned.items()
            for value, variable in zip(values, chosen[key], strict=True)
        )
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, LookupError, ValueError, TypeError):
        fits = False
    if not fits:
        raise ValueError(
            f"`{file}`: what became of the fine-tuning of these encoders. Received: a file that is "
            "damaged or of others. Remove it: they are then tuned again."
        )
    for (name, number), values in tuned.items():
        encoders[name][number].tune(part, values)
    return found


def _chosen(encoders, part: str) -> dict[tuple[str, int], list[keras.Variable]]:
    """By input and number of an encoder, what is trained on."""
    chosen, problems = {}, []
    for name, of_input in encoders.items():
        for number, encoder in enumerate(of_input):
            try:
                chosen[name, number] = encoder.tunable(part)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))
    return chosen


def _train_alone(encoders, chosen) -> None:
    """Has the chosen weights of encoders learn, and no others."""
    for (name, number), variables in chosen.items():
        model = encoders[name][number].model
        model.trainable = True
        ours = set(map(id, variables))
        for variable in model.trainable_variables:
            variable.trainable = id(variable) in ours


def _key(name: str, number: int) -> str:
    return f"{name}_{number}"


def _raw(dataset: Dataset, encoders) -> Dataset:
    """What the encoders read, by input and number: pictures, or token ids."""

    def read(examples: Examples) -> dict:
        found = {}
        for name, of_input in encoders.items():
            for number, encoder in enumerate(of_input):
                values = examples.inputs[form_of_teacher(dataset, name)]
                if encoder.backbone.size is None:
                    values = encoder.token_ids(list(examples.raw[name]))
                found[_key(name, number)] = values
        return found

    forms: dict[str, Any] = {
        _key(name, number): FeatureVector(name, 0, "token ids")
        if encoder.backbone.size is None
        else dataset.modalities[form_of_teacher(dataset, name)]
        for name, of_input in encoders.items()
        for number, encoder in enumerate(of_input)
    }
    return dataset.with_inputs(read, forms)


def _through(dataset: Dataset, encoders, head: keras.Model) -> keras.Model:
    """The head behind the encoders: a dict of pictures and token ids -> the head's outputs."""
    given, features = {}, {}
    for name, of_input in encoders.items():
        found = []
        for number, encoder in enumerate(of_input):
            key, size = _key(name, number), encoder.backbone.size
            if size is None:
                given[key] = keras.Input([None], dtype="int32", name=key)
            else:
                shape = dataset.splits["train"].inputs[form_of_teacher(dataset, name)].shape[1:]
                given[key] = keras.Input(shape, dtype="uint8", name=key)
            found.append(_Encoded(encoder)(given[key]))
        features[name] = layers.Concatenate()(found) if len(found) > 1 else found[0]
    return keras.Model(given, head(features), name="finetuned")


class _Encoded(layers.Layer):
    """Features as `Encoder.features` gives them, from weights that may learn."""

    def __init__(self, encoder: Encoder):
        super().__init__(autocast=False)
        self.model, self.size, self.dim = encoder.model, encoder.backbone.size, encoder.backbone.dim

    def call(self, values):
        if len(values.shape) == 5:  # sets of pictures: the mean of those that are there
            views = self.call(ops.reshape(values, (-1, *values.shape[2:])))
            return _unit_length(
                ops.sum(ops.reshape(views, (-1, values.shape[1], self.dim)), axis=1)
            )
        there = ops.any(values != 0, axis=list(range(1, len(values.shape))))
        read = values if self.size is None else resized(values, self.size, self.size)
        # As a part of a Functional model it would be run in training mode all the same.
        features = self.model(read, training=False)
        return ops.where(there[:, None], _unit_length(features), 0.0)

    def compute_output_spec(self, values):
        return keras.KerasTensor([values.shape[0], self.dim], dtype="float32")


def _unit_length(features):
    square = ops.sum(ops.square(features), axis=1, keepdims=True)
    return features * ops.rsqrt(ops.maximum(square, 1e-24))


def _validation_loss(model: keras.Model, dataset: Dataset) -> float:
    validation = dataset.splits["validation"]
    loss = dataset.task.loss(dataset.target_statistics)
    outputs = model.predict(dict(validation.inputs), batch_size=32, verbose=0)
    return float(np.mean(ops.convert_to_numpy(loss(validation.labels, outputs))))
