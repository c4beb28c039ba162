"""Modality dropout: a model in training learns to do without each of its inputs."""

from collections.abc import Mapping

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("mmkd_tf")
class ModalityDropout(layers.Layer):
    """Makes modalities absent at random in training, never all that an example has.

    Each modality that an example has is dropped with its rate, independently of the others; an
    example that would lose all of them keeps the one whose draw was the furthest above, or the
    least below, its rate. A dropped modality is all zeros, as one that was never there. In
    inference nothing is changed, and exported files hold no trace of the layer.

    It stands between a model's inputs and its encoders. So a teacher, which is asked in inference
    mode, sees the complete example while its student sees an incomplete one, and what is cached of
    the teacher is right for every draw.

    Args:
        rates: By modality, the probability to drop it, 0 (never) to 1; a modality that is not
            named is never dropped.
        seed: Seed of the draws.

    Raises:
        ValueError: If a rate is no number from 0 to 1.

    References:
        Neverova, Wolf, Taylor, Nebout: ModDrop: Adaptive Multi-Modal Gesture Recognition, 2016
        (section 3.3; there a model may lose all its inputs).

    Examples:
        >>> import numpy as np
        >>> layer = ModalityDropout({"image": 1.0}, seed=0)
        >>> inputs = {"image": np.ones([1, 2, 2, 3], "uint8"), "text": np.ones([1, 2], "int32")}
        >>> {name: int(ops.max(x)) for name, x in layer(inputs, training=True).items()}
        {'image': 0, 'text': 1}
    """

    def __init__(self, rates: Mapping[str, float], *, seed: int | None = None, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # pictures stay as they are
        _check_rates(rates)
        self.rates = dict(rates)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, inputs_shape):
        unknown = sorted(set(self.rates) - set(inputs_shape))
        if unknown:
            raise ValueError(
                f"`rates`: modalities of the model, {sorted(inputs_shape)}. Received: {unknown}. "
                "Leave them out."
            )

    def call(self, inputs, training=None):
        if not training or len(inputs) < 2 or not any(self.rates.values()):
            return inputs
        names = sorted(inputs)
        there = ops.stack([_is_there(inputs[name]) for name in names], axis=1)
        rates = ops.convert_to_tensor([self.rates.get(name, 0.0) for name in names], "float32")
        draws = keras.random.uniform(ops.shape(there), seed=self.seed_generator)
        # Absent ones are behind all others; the least of a draw less a rate is above -1.
        margins = ops.where(there, draws - rates, -2.0)
        last = ops.one_hot(ops.argmax(margins, axis=1), len(names), dtype="bool")
        kept = ops.logical_or(margins >= 0, last)
        return {
            name: _zeros_unless(kept[:, index], inputs[name]) for index, name in enumerate(names)
        }

    def get_config(self):
        return {**super().get_config(), "rates": self.rates, "seed": self.seed}


def _check_rates(rates: Mapping[str, float]) -> None:
    if not isinstance(rates, Mapping):
        raise ValueError(
            "`rates`: a probability for each modality, such as {'image': 0.2}. "
            f"Received: rates={rates!r}."
        )
    wrong = {name: rate for name, rate in rates.items() if not _is_probability(rate)}
    if wrong:
        raise ValueError(f"`rates`: numbers from 0 (never) to 1. Received: {wrong}.")


def _is_probability(rate) -> bool:
    return isinstance(rate, int | float) and not isinstance(rate, bool) and 0 <= rate <= 1


def _is_there(values):
    return ops.any(ops.not_equal(values, 0), axis=list(range(1, len(values.shape))))


def _zeros_unless(kept, values):
    kept = ops.reshape(kept, [-1] + [1] * (len(values.shape) - 1))
    return ops.where(kept, values, ops.zeros_like(values))
