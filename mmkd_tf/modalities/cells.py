"""Reads single cells of a table, and shows them in messages."""

import pandas as pd

from mmkd_tf.files.tables import LONGEST_QUOTE, quote

__all__ = ["LONGEST_QUOTE", "cell_text", "is_missing", "is_value", "plain_text", "quote"]


def is_missing(cell) -> bool:
    """Tells whether a cell is None, NaN or another of pandas' signs for a missing value."""
    return pd.api.types.is_scalar(cell) and pd.isna(cell)


def cell_text(cell) -> str:
    """Gives a cell as text without space around it, empty if it is missing."""
    return "" if is_missing(cell) else str(cell).strip()


def is_value(cell) -> bool:
    """Tells whether a cell holds one value: a text, a number, a date, bytes, or nothing."""
    return bool(pd.api.types.is_scalar(cell))


def plain_text(cell) -> str:
    """Gives a cell as text, empty if it is missing; bytes are UTF-8.

    A ValueError says that it is none: a list or a struct would become its Python form.
    """
    if isinstance(cell, (bytes, bytearray)):
        try:
            return bytes(cell).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"bytes that are not UTF-8 at byte {error.start:,}") from None
    if not is_value(cell):
        kinds = {"dict": "a struct", "list": "a list", "ndarray": "a list", "tuple": "a list"}
        kind = kinds.get(type(cell).__name__, f"a {type(cell).__name__}")
        raise ValueError(f"{kind}, not a text; write what it holds into columns of their own")
    return "" if is_missing(cell) else str(cell)
