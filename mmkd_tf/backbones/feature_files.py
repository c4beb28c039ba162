"""Features on disk: what a frozen encoder says of values is computed once, for all runs."""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.files.kept import FEATURES, cache_folder
from mmkd_tf.files.whole import whole_file

_AT_ONCE = 1024


def features_folder() -> Path:
    """Where features are kept for all runs."""
    return cache_folder() / FEATURES


def kept_features(
    encoder: Encoder, values: Sequence, keys: Sequence[bytes], folder: Path | None
) -> np.ndarray:
    """Reads features, or computes and keeps them.

    Each content is encoded once, in an order that does not depend on that of the values; a file
    that is damaged is made again.

    Args:
        encoder: A loaded backbone.
        values: What it reads.
        keys: What tells the contents of values apart.
        folder: Where features are kept; None keeps none.

    Returns:
        float32 `[len(values), dim]`.
    """
    digests = [hashlib.sha256(key).digest() for key in keys]
    contents = dict(zip(digests, range(len(values)), strict=True))
    order = sorted(contents)
    if not order:
        return np.zeros([0, encoder.backbone.dim], np.float32)
    digest = hashlib.sha256(b"".join(order)).hexdigest()[:16]
    file = folder and folder / f"{encoder.fingerprint}-{digest}.npz"
    features = _read(encoder, len(order), file)
    if features is None:
        rows_of = [contents[key] for key in order]
        # Those that are read from disk, a part at a time.
        at_once = _AT_ONCE if hasattr(values, "select") else len(order)
        parts = []
        for start in range(0, len(order), at_once):
            some = [values[row] for row in rows_of[start : start + at_once]]
            pictures = isinstance(some[0], np.ndarray)
            parts.append(encoder.features(np.stack(some) if pictures else some))
        features = np.concatenate(parts)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            checksum = hashlib.sha256(features.data).hexdigest()
            with whole_file(file) as unfinished:
                name = encoder.backbone.name  # for people
                np.savez(unfinished, features=features, sha256=checksum, encoder=name)
    rows = {key: row for row, key in enumerate(order)}
    return features[[rows[key] for key in digests]]


def _read(encoder: Encoder, number: int, file: Path | None) -> np.ndarray | None:
    if file is None or not file.is_file():
        return None
    try:
        with np.load(file) as kept:
            features, checksum = kept["features"], str(kept["sha256"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    with contextlib.suppress(OSError):
        os.utime(file)  # when it was last used
    whole = features.shape == (number, encoder.backbone.dim)
    return features if whole and hashlib.sha256(features.data).hexdigest() == checksum else None
