"""Tables of words and figures, as Markdown and as text for the terminal."""

from collections.abc import Sequence

Row = Sequence[str]


def markdown_table(columns: Row, rows: Sequence[Row], *, num_words: int) -> list[str]:
    """Gives the lines of a Markdown table.

    The first `num_words` columns hold words, as do those without a title; the others hold figures.
    """
    rules = ["---" if i < num_words or not column else "---:" for i, column in enumerate(columns)]
    return ["| " + " | ".join(row) + " |" for row in (columns, rules, *rows)]


def text_table(columns: Row, rows: Sequence[Row], *, num_words: int) -> list[str]:
    """Gives the same as lines of plain text, figures on the right."""
    table = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = enumerate(zip(row, widths, strict=True))
        padded = [c.ljust(w) if i < num_words else c.rjust(w) for i, (c, w) in cells]
        lines.append("  ".join(padded).rstrip())
    return lines


def points_interval(interval: tuple[float, float] | None) -> str:
    """An interval of shares in points, with signs: `-1.2 to +0.3`."""
    return "-" if interval is None else "{:+.1f} to {:+.1f}".format(*(100 * v for v in interval))


def model_title(model: str) -> str:
    """What people call a model of a study."""
    return model.replace("_", " ").replace("recipe-", "distilled: ")
