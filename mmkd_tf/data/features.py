"""Finds the features of a TensorFlow dataset that are its picture, its text and its class."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import tensorflow_datasets as tfds

KINDS = {
    "image": "an Image of 8 or 16 bit",
    "text": "a Text",
    "label": "a ClassLabel, a whole number or a Text, a Sequence of these for several labels, or a "
    "number of any kind with task='regression'",
}


@dataclass(frozen=True)
class Feature:
    """One feature of a dataset.

    Attributes:
        path: Keys that lead to it in an example.
        connector: What TensorFlow Datasets says of it.
    """

    path: tuple[str, ...]
    connector: tfds.features.FeatureConnector

    @property
    def is_sequence(self) -> bool:
        """Whether an example has a list of values."""
        return isinstance(self.connector, tfds.features.Sequence)

    @property
    def element(self) -> tfds.features.FeatureConnector:
        """What TensorFlow Datasets says of one value."""
        return self.connector.feature if self.is_sequence else self.connector

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes in order, if it is a class label or a sequence of them."""
        is_label = isinstance(self.element, tfds.features.ClassLabel)
        return list(self.element.names) if is_label else None

    def value(self, example: Mapping):
        """Gives its value in an example."""
        for key in self.path:
            example = example[key]
        return example

    def label_of(self, example: Mapping) -> str | list[str]:
        """Gives its value as a label's text, empty if it is a class label's -1 for none."""
        value = self.value(example)
        return list(map(self._text_of, value)) if self.is_sequence else self._text_of(value)

    def _text_of(self, value) -> str:
        if isinstance(self.element, tfds.features.ClassLabel):
            return self.element.int2str(int(value)) if value >= 0 else ""
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def fits(self, role: str, task: str = "auto") -> bool:
        """Tells whether it can be the `image`, `text` or `label`."""
        connector = self.connector
        if role == "label" and self.is_sequence and task in ("auto", "multi_label"):
            connector = self.element
        if role == "image":
            return isinstance(connector, tfds.features.Image) and connector.np_dtype in (
                np.uint8,
                np.uint16,
            )
        if connector.shape != ():
            return False
        is_text = connector.np_dtype in (np.str_, np.object_, np.bytes_)
        number = np.number if task == "regression" else np.integer
        return is_text or (role == "label" and np.issubdtype(connector.np_dtype, number))


def nest(values: Mapping[tuple[str, ...], object]) -> dict:
    """Makes nested dicts of values by path, as PartialDecoding wants them."""
    nested: dict = {}
    for path, value in values.items():
        parent = nested
        for key in path[:-1]:
            parent = parent.setdefault(key, {})
        parent[path[-1]] = value
    return nested


def find_features(
    builder: tfds.core.DatasetBuilder, names: Mapping[str, str | None], *, task: str = "auto"
) -> dict[str, Feature]:
    """Finds a builder's features by name and checks their kinds, before anything is read.

    Args:
        builder: The builder.
        names: Name of the feature by role (`image`, `text`, `label`), parts of a nested one
            joined by `/`; None for a role that is not wanted.
        task: As in `DatasetOptions`; it says what a label can be.

    Returns:
        The feature by role, for those wanted.

    Raises:
        ValueError: If one is missing or of another kind; says which features there are.
    """
    there = {"/".join(feature.path): feature for feature in _leaves(builder.info.features, ())}
    wrong = []
    if names["image"] is None and names["text"] is None:
        wrong.append("`image`, `text`: one of them at least. Received: image=None, text=None.")
    for role, name in names.items():
        if name is not None and not (name in there and there[name].fits(role, task)):
            fitting = [f"{role}='{other}'" for other in there if there[other].fits(role, task)]
            close = [f"{role}='{other}'" for other in get_close_matches(name, there)]
            advice = [option for option in close if option in fitting] or fitting
            if role != "label":
                advice = [*advice, f"{role}=None"]
            is_what = f", which is {_describe(there[name].connector)}" if name in there else ""
            wrong.append(
                f"`{role}`: the name of {KINDS[role]}. Received: {role}='{name}'{is_what}. "
                f"{'Try ' + ' or '.join(advice) if advice else 'There is none'}."
            )
    if wrong:
        known = (f"  {name}: {_describe(feature.connector)}" for name, feature in there.items())
        raise ValueError("\n".join([*wrong, f"The features of '{builder.name}' are:", *known]))
    return {role: there[name] for role, name in names.items() if name is not None}


def _leaves(features, path: tuple[str, ...]) -> Iterator[Feature]:
    for key, connector in features.items():
        if isinstance(connector, tfds.features.FeaturesDict):
            yield from _leaves(connector, (*path, key))
        else:
            yield Feature((*path, key), connector)


def _describe(connector: tfds.features.FeatureConnector) -> str:
    if isinstance(connector, tfds.features.ClassLabel):
        return f"ClassLabel, {connector.num_classes} classes"
    return " ".join(repr(connector).split())
