"""Reads single cells of a table, and shows them in messages."""

import pandas as pd

from mmkd_tf.table_files import LONGEST_QUOTE, quote

__all__ = ["LONGEST_QUOTE", "cell_text", "is_missing", "quote"]


def is_missing(cell) -> bool:
    """Tells whether a cell is None, NaN or another of pandas' signs for a missing value."""
    return pd.api.types.is_scalar(cell) and pd.isna(cell)


def cell_text(cell) -> str:
    """Gives a cell as text without space around it, empty if it is missing."""
    return "" if is_missing(cell) else str(cell).strip()
