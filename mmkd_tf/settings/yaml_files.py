"""Reads YAML of settings strictly: each key once and a text, no deeper and no larger than settings.

PyYAML takes the last of two equal keys without a word, and fails in its own ways on what is deep,
refers to itself or is no text.
"""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

_MOST_BYTES = 2**20
_MOST_LEVELS = 20
_MOST_VALUES = 100_000
_LONGEST_REASON = 300
_NOT_READABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's loader of plain values, which takes no key twice."""

    def construct_mapping(self, node, deep=False):
        seen = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # which PyYAML refuses
            line = key_node.start_mark.line + 1
            if key in seen:
                raise yaml.YAMLError(
                    f"{key!r} is there twice, in line {seen[key]} and in line {line}; leave one out"
                )
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


def read_yaml_file(path: Path) -> Any:
    """Reads a YAML file (UTF-8); a ValueError gives the reason why it can't be."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(str(error)) from None
    if len(content) > _MOST_BYTES:
        raise ValueError(f"larger than {_MOST_BYTES / 2**20:.0f} MiB, which no settings are")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start:,}") from None
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """Reads a text as YAML; a ValueError gives the reason why it can't be."""
    if found := _NOT_READABLE.search(text):
        raise ValueError(
            f"a control character, U+{ord(found[0]):04X}, in line "
            f"{text.count(chr(10), 0, found.start()) + 1}"
        )
    try:
        _check_levels(text)
        values = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(reason[:_LONGEST_REASON]) from None
    _check(values)
    return values


def _check_levels(text: str) -> None:
    """Refuses what PyYAML can't construct, as it calls itself for each level."""
    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent)
        level -= isinstance(event, yaml.CollectionEndEvent)
        if level > _MOST_LEVELS:
            raise ValueError(f"nested more than {_MOST_LEVELS} levels deep")


def _check(values) -> None:
    """Refuses keys that are no texts, and what is endless or too large by references."""
    waiting, num_values = [(values, 0, "")], 0
    while waiting:
        value, level, place = waiting.pop()
        num_values += 1
        if level > _MOST_LEVELS**2:  # references may add some
            raise ValueError("a value that is within itself")
        if num_values > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES:,} values")
        if isinstance(value, Mapping):
            # What a callback takes is its own affair.
            wrong = [key for key in value if not isinstance(key, str)]
            if wrong and not place.startswith("callbacks"):
                raise ValueError(
                    f"keys that are no texts: {', '.join(map(repr, wrong[:5]))}"
                    f"{f' in `{place}`' if place else ''}; put quotation marks around them"
                )
            waiting += [
                (each, level + 1, f"{place}.{key}" if place else str(key))
                for key, each in value.items()
            ]
        elif isinstance(value, (list, tuple, set)):
            waiting += [(each, level + 1, place) for each in value]
