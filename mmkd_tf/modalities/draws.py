"""Random numbers that belong to an example: the same seed gives the same view, in any batch."""

import numpy as np
import tensorflow as tf

_MASK = 0xFFFFFFFF
_NORMALS = 2**16


def uniform_draws(seeds: tf.Tensor, num_draws: int) -> tf.Tensor:
    """Draws float32 `[batch, num_draws]` in [0, 1) by `seeds`, int32 `[batch, 2]` of any values.

    `tf.random.stateless_uniform` takes one seed a call; a call an example would cost more than
    the small student's training step. Mixing the seed's bits is enough for augmentation.
    """
    seeds = tf.cast(seeds, tf.int64)
    state = _mix(seeds[:, :1] & _MASK)
    state = _mix((state ^ seeds[:, 1:]) & _MASK)
    counters = tf.range(1, num_draws + 1, dtype=tf.int64)[tf.newaxis]
    state = _mix(_mix((state + counters * 0x9E3779B9) & _MASK))
    return tf.cast(state // 2**8, tf.float32) / 2**24


def normal_draws(places: tf.Tensor, num_draws: int) -> tf.Tensor:
    """Draws float32 `[batch, num_draws]`, standard normal, by `places`, `[batch]` in [0, 1).

    Each takes another stretch of the same numbers: drawing them anew would cost too much.
    """
    normal = tf.random.stateless_normal([_NORMALS + num_draws], seed=[0, 0])
    first = tf.cast(places * _NORMALS, tf.int32)[:, tf.newaxis]
    return tf.gather(normal, first + tf.range(num_draws))


def _mix(bits: tf.Tensor) -> tf.Tensor:
    """Spreads each input bit over 32 bits; int64 holds the products without overflow."""
    for _ in range(2):
        bits = ((bits ^ bits // 2**16) * 0x45D9F3B) & _MASK
    return bits ^ bits // 2**16


def turns(draws: tf.Tensor, most: float) -> tf.Tensor:
    """Rotations about random axes by up to `most` radians, `[batch, 3, 3]`, of three draws each."""
    up, around = 2 * draws[:, 0] - 1, 2 * np.pi * draws[:, 1]
    flat, angle = tf.sqrt(1 - up**2), most * (2 * draws[:, 2] - 1)
    x, y, z = flat * tf.cos(around), flat * tf.sin(around), up
    zero = tf.zeros_like(x)
    cross = tf.reshape(tf.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1), [-1, 3, 3])
    sine, rest = tf.sin(angle)[:, None, None], 1 - tf.cos(angle)[:, None, None]
    return tf.eye(3) + sine * cross + rest * cross @ cross  # Rodrigues' formula
