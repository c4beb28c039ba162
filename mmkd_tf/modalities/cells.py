"""Reads single cells of a table, and shows them in messages."""

import pandas as pd

LONGEST_QUOTE = 80


def is_missing(cell) -> bool:
    """Tells whether a cell is None, NaN or another of pandas' signs for a missing value."""
    return pd.api.types.is_scalar(cell) and pd.isna(cell)


def cell_text(cell) -> str:
    """Gives a cell as text without space around it, empty if it is missing."""
    return "" if is_missing(cell) else str(cell).strip()


def quote(cell) -> str:
    """Gives a cell for a message: in quotes, on one line, shortened if it is long."""
    text = str(cell)
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...")
