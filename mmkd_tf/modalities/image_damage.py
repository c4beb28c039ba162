"""Damage to a picture: each function gives a new one, the same for the same generator.

All take `(picture, amount, rng)`: uint8 `[height, width, 3]`, not all zeros; how much of the
damage; and the generator that decides what is left to chance. None gives all zeros, which would
be an absent picture: ones take their place. Those of a set take `[views, height, width, 3]`, of
which some may be zeros and one at least is not.
"""

import functools
import io

import numpy as np
from PIL import Image, ImageFilter

from mmkd_tf.modalities.modality import Damage

_GREY = 127


def blur(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Blurs with a Gaussian; `amount` is its standard deviation as a share of the width."""
    radius = amount * picture.shape[1]
    return _present(np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius))))


def noise(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of standard deviation `amount`, 0 or more, and clips to 0 to 255."""
    noisy = picture + amount * rng.standard_normal(picture.shape, np.float32)
    return _present(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def jpeg(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Writes the picture as JPEG of quality `amount`, 1 (worst) to 95, and reads it again."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(amount))
    return _present(np.asarray(Image.open(file)))


def occlude(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Hides a share `amount` of the picture, 0 to 1, behind a grey rectangle of its shape."""
    height, width = (round(side * amount**0.5) for side in picture.shape[:2])
    down, right = rng.random(2)
    top = round(down * (picture.shape[0] - height))
    left = round(right * (picture.shape[1] - width))
    hidden = picture.copy()
    hidden[top : top + height, left : left + width] = _GREY
    return hidden


def _present(picture: np.ndarray) -> np.ndarray:
    return picture if picture.any() else picture + 1


DAMAGES = {
    "blur": Damage(blur, (0.01, 0.02, 0.03, 0.04, 0.05), "radius as a share of the width"),
    "noise": Damage(
        noise, (20, 40, 60, 80, 100), "standard deviation, of 255", form="{}", clean="0"
    ),
    "jpeg": Damage(jpeg, (50, 30, 20, 10, 5), "quality", form="{}", clean="none"),
    "occlusion": Damage(occlude, (0.1, 0.2, 0.3, 0.4, 0.5), "share of the picture hidden"),
}


def on_each(
    damage: Damage, pictures: np.ndarray, amount: float, rng: np.random.Generator
) -> np.ndarray:
    """Damages each picture of a set that is there."""
    changed = [damage.change(one, amount, rng) if one.any() else one for one in pictures]
    return np.stack(changed)


def lose(pictures: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Takes a share `amount` of a set's pictures away, 0 to 1, but the last one."""
    there = rng.permutation(np.flatnonzero(pictures.any(axis=(1, 2, 3))))
    kept = pictures.copy()
    kept[there[: min(round(amount * len(there)), len(there) - 1)]] = 0
    return kept


SET_DAMAGES = {
    name: Damage(
        functools.partial(on_each, one), one.amounts, one.measure, form=one.form, clean=one.clean
    )
    for name, one in DAMAGES.items()
} | {"missing": Damage(lose, (0.25, 0.5, 0.75, 1.0), "share of the pictures missing, one stays")}
