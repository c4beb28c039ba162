"""Finds the features of a TensorFlow dataset that are its inputs and its label."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.tasks.task import Task

LABEL_KIND = (
    "a ClassLabel, a whole number or a Text, a Sequence of these for several labels, or a "
    "number of any kind with task='regression'"
)


@dataclass(frozen=True)
class Feature:
    """One feature of a dataset: keys that lead to it in an example, and what tfds says of it."""

    path: tuple[str, ...]
    connector: tfds.features.FeatureConnector

    @property
    def is_sequence(self) -> bool:
        return isinstance(self.connector, tfds.features.Sequence)

    @property
    def element(self) -> tfds.features.FeatureConnector:
        return self.connector.feature if self.is_sequence else self.connector

    @property
    def class_names(self) -> list[str] | None:
        is_label = isinstance(self.element, tfds.features.ClassLabel)
        return list(self.element.names) if is_label else None

    @property
    def is_text(self) -> bool:
        return _is_text(self.connector)

    def value(self, example: Mapping):
        value: Any = example
        for key in self.path:
            value = value[key]
        return value.decode(errors="replace") if self.is_text else value

    def label_of(self, example: Mapping) -> str | list[str]:
        """As text, empty if it is a class label's -1 for none."""
        value = self.value(example)
        return list(map(self._text_of, value)) if self.is_sequence else self._text_of(value)

    def _text_of(self, value) -> str:
        if isinstance(self.element, tfds.features.ClassLabel):
            return self.element.int2str(int(value)) if value >= 0 else ""
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def fits_label(self, task: Task | None) -> bool:
        """Tells whether it can be the label of a task; None for one that the labels decide."""
        lists = task is None or task.takes_lists
        connector = self.element if lists else self.connector
        number = np.number if task is not None and task.takes_numbers else np.integer
        return _is_text(connector) or (
            connector.shape == () and np.issubdtype(connector.np_dtype, number)
        )


def find_features(
    builder: tfds.core.DatasetBuilder,
    inputs: Mapping[str, InputOptions],
    label: str | None,
    *,
    task: Task | None = None,
    in_short: bool = True,
) -> tuple[dict[str, Feature], Feature | None]:
    """Finds the features of inputs and label (None if none is wanted) and checks their kinds.

    Without a task, labels are to decide. `in_short` is whether people gave each input by an
    argument of its own, for messages.

    Raises:
        ValueError: If one is missing or of another kind; says which features there are.
    """
    there = {"/".join(feature.path): feature for feature in _leaves(builder.info.features, ())}
    wrong = []

    def find(name: str, fits, what: str, *, place: str, argument: str, absent: str = ""):
        if name in there and fits(there[name]):
            return there[name]
        fitting = [f"{argument}='{other}'" for other in there if fits(there[other])]
        close = [f"{argument}='{other}'" for other in get_close_matches(name, there)]
        advice = [option for option in close if option in fitting] or fitting
        advice += [absent] if absent else []
        is_what = f", which is {_describe(there[name].connector)}" if name in there else ""
        wrong.append(
            f"{place}: the name of {what}. Received: {argument}='{name}'{is_what}. "
            f"{'Try ' + ' or '.join(advice) if advice else 'There is none'}."
        )
        return None

    found = {}
    for name, settings in inputs.items():
        kind = KINDS[settings.kind]
        if getattr(settings, "columns", None):
            wrong.append(
                f"`inputs`, '{name}': one feature, in `column`. Received: "
                f"columns={settings.columns_of(name)}. A table may have several for an input."
            )
        found[name] = find(
            settings.column or name,
            lambda feature, kind=kind: kind.fits_feature(feature.connector),
            f"a feature that is a {kind.noun}",
            place=f"`{name}`" if in_short else f"`inputs`, '{name}'",
            argument=name if in_short else "column",
            absent=f"{name}=None" if in_short else "",
        )
    label_feature = None
    if label is not None:
        fits = functools.partial(Feature.fits_label, task=task)
        label_feature = find(label, fits, LABEL_KIND, place="`label`", argument="label")
    if wrong:
        known = (f"  {name}: {_describe(feature.connector)}" for name, feature in there.items())
        raise ValueError("\n".join([*wrong, f"The features of '{builder.name}' are:", *known]))
    return found, label_feature


def nest(values: Mapping[tuple[str, ...], object]) -> dict:
    """Makes nested dicts of values by path, as PartialDecoding wants them."""
    nested: dict = {}
    for path, value in values.items():
        parent = nested
        for key in path[:-1]:
            parent = parent.setdefault(key, {})
        parent[path[-1]] = value
    return nested


def _is_text(connector: tfds.features.FeatureConnector) -> bool:
    return connector.shape == () and connector.np_dtype in (np.str_, np.object_, np.bytes_)


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
