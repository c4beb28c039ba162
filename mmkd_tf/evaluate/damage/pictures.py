"""Damage to a picture: each function gives a new one, the same for the same generator.

All take `(picture, amount, rng)`: uint8 `[height, width, 3]`, how much of the damage, and the
generator that decides what is left to chance.
"""

import io

import numpy as np
from PIL import Image, ImageFilter

_GREY = 127


def blur(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Blurs with a Gaussian.

    Args:
        picture: uint8 `[height, width, 3]`.
        amount: Standard deviation of the Gaussian as a share of the width, 0 or more.
        rng: Left alone; nothing here is random.
    """
    radius = amount * picture.shape[1]
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def noise(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise to each value and clips to 0 to 255.

    Args:
        picture: uint8 `[height, width, 3]`.
        amount: Standard deviation, 0 or more.
        rng: Draws the noise.
    """
    noisy = picture + amount * rng.standard_normal(picture.shape, np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Writes the picture as JPEG and reads it again.

    Args:
        picture: uint8 `[height, width, 3]`.
        amount: Quality, 1 (worst) to 95.
        rng: Left alone; nothing here is random.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(amount))
    return np.asarray(Image.open(file))


def occlude(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Hides a part behind a grey rectangle of the picture's shape.

    Args:
        picture: uint8 `[height, width, 3]`.
        amount: Share of the picture's area, 0 to 1.
        rng: Draws the place, anywhere within the picture.
    """
    height, width = (round(side * amount**0.5) for side in picture.shape[:2])
    down, right = rng.random(2)
    top = round(down * (picture.shape[0] - height))
    left = round(right * (picture.shape[1] - width))
    hidden = picture.copy()
    hidden[top : top + height, left : left + width] = _GREY
    return hidden
