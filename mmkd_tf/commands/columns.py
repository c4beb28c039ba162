"""Flags that say of a table which columns are read: the same for `run`, `study` and `tune`."""

from typing import Annotated, Any

import typer

Flag = typer.Option
Image = Annotated[str | None, Flag("--image", help="Column of picture paths; none without.")]
Text = Annotated[str | None, Flag("--text", help="Column of texts; none without.")]
Label = Annotated[str | None, Flag("--label", help="Column of labels; of numbers, with commas.")]
SkipBadRows = Annotated[
    bool | None, Flag("--skip-bad-rows", help="Go on without rows that can't be used.")
]


def given_columns(
    image: str | None, text: str | None, label: str | None, skip_bad_rows: bool | None
) -> dict[str, Any]:
    """The settings that these flags stand for, of those that were given."""
    given = {"image": image, "text": text, "label": label, "skip_bad_rows": skip_bad_rows}
    return {name: value for name, value in given.items() if value is not None}


def as_flags(given: dict[str, Any]) -> list[str]:
    """What `given_columns` gives, as it is written on the command line."""
    flags = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        flags += [flag] if value is True else [flag, str(value)]
    return flags
