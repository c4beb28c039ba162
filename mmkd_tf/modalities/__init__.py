"""Modalities: the kinds of input, by the names that settings have for them."""

import keyword
import re
from collections.abc import Mapping
from difflib import get_close_matches

from mmkd_tf.modalities.audio import Audio
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import InputOptions, Modality
from mmkd_tf.modalities.points import Points
from mmkd_tf.modalities.series import Series
from mmkd_tf.modalities.tabular import Tabular
from mmkd_tf.modalities.text import Text

KINDS: dict[str, type[Modality]] = {}
# Names of layers begin with it, files of a student carry it, and `predict` takes it as a keyword.
_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,63}")
# Layers of every model, and arguments of methods that take inputs by name.
_TAKEN = ("logits", "fused_features", "self", "candidates", "top")


def register_modality(cls: type[Modality]) -> type[Modality]:
    """Makes a kind known to settings, data and exports; serves as a decorator.

    Args:
        cls: A final class of the contract `mmkd_tf.modalities.modality.Modality`.

    Returns:
        The class.

    Raises:
        ValueError: If another class has the kind's name.
    """
    if KINDS.setdefault(cls.kind, cls) is not cls:
        raise ValueError(
            f"`kind`: a name that no other class has. Received: {cls.kind!r} of {cls.__name__}, "
            f"which is that of {KINDS[cls.kind].__name__}. Choose another."
        )
    return cls


def unfit_input_name(name) -> str | None:
    """Says why an input can't be called so; None where it can."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "names of letters, digits and underscores, a letter first, 64 signs at most"
    if name in _TAKEN or keyword.iskeyword(name):
        return "names that are neither Python's own nor those of a model's layers or methods"
    return None


def input_options(value: Mapping | InputOptions) -> InputOptions:
    """Makes the options of an input of a mapping with its `kind`; options stay as they are.

    Raises:
        ValueError: If there is no such kind, or a field does not fit (pydantic lists all).

    Examples:
        >>> input_options({"kind": "image", "size": 32, "student": {"size": 16}}).student.size
        16
    """
    if isinstance(value, InputOptions):
        return value
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, n=1)
        advice = "Write something like {'kind': 'image', 'column': 'photo'}."
        raise ValueError(
            f"options of an input with its `kind`, one of {', '.join(KINDS)}. Received: {value!r}. "
            + (f"Did you mean {near[0]}?" if near else advice)
        )
    return KINDS[kind].Options(**value)


for _kind in (Image, Text, Tabular, Points, Series, Audio):
    register_modality(_kind)
