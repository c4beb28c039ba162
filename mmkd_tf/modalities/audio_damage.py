"""Damage to a sound: each function gives a new one, the same for the same generator.

All take `(sound, amount, rng)`: float32 `[samples]` from -1 to 1, not all zeros; how much of the
damage; and the generator that decides what is left to chance. None gives all zeros, which would be
an absent sound.
"""

import numpy as np

from mmkd_tf.edge.audio import STEP
from mmkd_tf.modalities.modality import Damage


def noise(sound: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds white noise; `amount` is the ratio of the sound to it in decibels."""
    level = np.sqrt(np.mean(np.square(sound))) * 10 ** (-amount / 20)
    noisy = sound + np.float32(level) * rng.standard_normal(sound.shape, np.float32)
    return _present(np.clip(noisy, -1, 1))


def clipping(sound: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Cuts samples at a share `amount` of the loudest one, as an overdriven microphone does."""
    most = amount * np.abs(sound).max()
    return _present(np.clip(sound, -most, most))


def band_limit(sound: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Keeps the lower share `amount` of the frequencies, as a telephone does."""
    spectrum = np.fft.rfft(sound)
    spectrum[max(1, round(amount * len(spectrum))) :] = 0
    return _present(np.fft.irfft(spectrum, len(sound)).clip(-1, 1).astype(np.float32))


def _present(sound: np.ndarray) -> np.ndarray:
    return sound if sound.any() else sound + np.float32(STEP)


DAMAGES = {
    "noise": Damage(
        noise, (20, 10, 5, 0, -5), "decibels of sound over noise", form="{}", clean="none"
    ),
    "clipping": Damage(
        clipping, (0.5, 0.2, 0.1, 0.05, 0.02), "level that samples are cut at", clean="100%"
    ),
    "band": Damage(
        band_limit, (0.5, 0.35, 0.25, 0.15, 0.1), "frequencies that are left", clean="100%"
    ),
}
