"""Energies of a sound by time and band, a layer of operators that every LiteRT has."""

import keras
import tensorflow as tf
from keras import layers

PARTS_A_SECOND = 200  # a window is five of them, and the next begins two later
# Products of more weights are computed in integers by quantised files, and energies reach too far
# for these.
_MOST_WEIGHTS = 2**14 - 1


@keras.saving.register_keras_serializable("mmkd_tf")
class LogMel(layers.Layer):
    """Logarithms of energies: float32 `[batch, samples]` -> `[batch, steps, bands]`.

    Sounds are brought to one level. A step is the spectrum of 25 ms, the next begins 10 ms later;
    bands are triangles as wide as each other in mel. Its operators are in every LiteRT.

    Args:
        rate: Samples a second, a multiple of 200.
        bands: Number of bands, from 50 Hz to half of the rate.
    """

    def __init__(self, rate: int, bands: int, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.rate, self.bands = rate, bands

    def call(self, inputs):
        sound = tf.cast(inputs, tf.float32)
        power = tf.reduce_mean(sound * sound, axis=1, keepdims=True)
        sound *= tf.math.rsqrt(power + 1e-8)
        part = self.rate // PARTS_A_SECOND
        parts = tf.reshape(sound, [-1, sound.shape[1] // part, part])
        steps = (parts.shape[1] - 5) // 2 + 1
        windows = tf.concat([parts[:, i : i + 2 * steps - 1 : 2] for i in range(5)], axis=2)
        windows *= tf.signal.hann_window(5 * part)
        size = 2 ** (5 * part - 1).bit_length()
        energies = tf.square(tf.abs(tf.signal.rfft(windows, [size])))
        mel = tf.signal.linear_to_mel_weight_matrix(
            self.bands, size // 2 + 1, self.rate, 50.0, self.rate / 2
        )
        rows = _MOST_WEIGHTS // self.bands
        by_band = tf.add_n(
            [
                tf.tensordot(energies[:, :, i : i + rows], mel[i : i + rows], 1)
                for i in range(0, mel.shape[0], rows)
            ]
        )
        return tf.cast(tf.math.log(by_band + 1e-2), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        parts = input_shape[1] // (self.rate // PARTS_A_SECOND)
        return input_shape[0], (parts - 5) // 2 + 1, self.bands

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "bands": self.bands}
