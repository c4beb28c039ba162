"""Damage to a series: each function gives a new one, the same for the same generator.

All take `(series, amount, rng)`: float32 `[steps, channels + 1]`, whose last channel is 1 where a
step is known; how much of the damage; and the generator that decides what is left to chance.
Unknown steps stay so, and one known step is always left.
"""

import numpy as np

from mmkd_tf.modalities.modality import Damage


def drop_out(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Loses a stretch of a share `amount` of the steps, 0 to 1."""
    length = round(amount * len(series))
    start = round(rng.random() * (len(series) - length))
    damaged = series.copy()
    damaged[start : start + length] = 0
    return damaged if damaged[:, -1].any() else series


def bias(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Moves each channel by `amount` of its standard deviation, up or down."""
    signs = rng.choice([-1.0, 1.0], series.shape[1] - 1)
    return _with_values(series, series[:, :-1] + amount * signs * _deviations(series))


def noise(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of `amount` of each channel's standard deviation."""
    normal = rng.standard_normal((len(series), series.shape[1] - 1), np.float32)
    return _with_values(series, series[:, :-1] + amount * normal * _deviations(series))


def permute(series: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Lets a share `amount` of the channels, 0 to 1, change places, as a device held otherwise."""
    order = rng.permutation(series.shape[1] - 1)[: round(amount * (series.shape[1] - 1))]
    values = series[:, :-1].copy()
    values[:, order] = values[:, np.roll(order, 1)]
    return _with_values(series, values)


def _deviations(series: np.ndarray) -> np.ndarray:
    """Of each channel over the known steps."""
    return series[series[:, -1] > 0, :-1].std(axis=0, dtype=np.float64)


def _with_values(series: np.ndarray, values: np.ndarray) -> np.ndarray:
    known = series[:, -1:]
    return np.concatenate([np.where(known > 0, values, 0), known], axis=1).astype(np.float32)


_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
DAMAGES = {
    "dropout": Damage(drop_out, _SHARES, "share of the steps lost"),
    "bias": Damage(
        bias, (0.25, 0.5, 1, 2, 4), "of a channel's standard deviation", form="{}", clean="0"
    ),
    "noise": Damage(
        noise, (0.1, 0.2, 0.4, 0.8, 1.6), "of a channel's standard deviation", form="{}", clean="0"
    ),
    "permuted": Damage(permute, (0.35, 0.7, 1.0), "share of the channels that change places"),
}
