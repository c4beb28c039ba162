"""Table: rows of words and figures, made once and shown as text, as Markdown and as HTML."""

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmkd_tf.terminal import plain

# Within words an underscore means nothing, and signs of headings and lists only at the beginning.
_MARKUP = re.compile(
    r"[\\|*`\[\]~$]|(?<![^\W_])_|_(?![^\W_])|^>|^#(?=[#\s])|^[+-](?=\s)|(?<=^\d)[.)](?=\s)"
)
_MOST_COLUMNS = 100  # longer lines of prose are hard to read
# What of a name stays together: student_, small, .tflite.
_PIECES = re.compile(r"[-_/\\]*\.*[^-_./\\]+[-_/\\]*|[-_./\\]+")


@dataclass(frozen=True)
class Table:
    """A table for people; `templates/macros.html` writes it as HTML.

    So many columns from the left as `num_words` hold words, as do those without a title; the others
    hold figures, which stand to the right.
    """

    columns: tuple[str, ...]  # titles
    rows: Sequence[tuple[str, ...]]
    title: str = ""
    num_words: int = 1
    # By index of a column, for each row the share, 0 to 1, of a bar under the figure.
    bars: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self):
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(
                f"`rows`: {len(self.columns)} cells in each, one for each column. Received: {wrong}"
            )

    def holds_words(self, column: int) -> bool:
        """Whether a column holds words."""
        return column < self.num_words or not self.columns[column]

    def without(self, *titles: str) -> "Table":
        """The same without some columns and without bars."""
        left = [i for i, column in enumerate(self.columns) if column not in titles]
        rows = [tuple(row[i] for i in left) for row in self.rows]
        num_words = sum(i < self.num_words for i in left)
        return Table(tuple(self.columns[i] for i in left), rows, self.title, num_words)

    def to_markdown(self) -> str:
        """Writes it as Markdown, the title as a line above; what is in cells stays text."""
        places = range(len(self.columns))
        rules = ["---" if self.holds_words(place) else "---:" for place in places]
        cells = [[escape_markdown(cell) for cell in row] for row in (self.columns, *self.rows)]
        lines = ["| " + " | ".join(row) + " |" for row in (cells[0], rules, *cells[1:])]
        return "\n".join([*([f"{self.title}:", ""] if self.title else []), *lines])

    def to_text(self, width: int | None = None) -> str:
        """Writes it as plain text, the title as a line above, as wide as the terminal by default.

        Where it is narrow, titles take several lines first, then words, then names, which are
        broken behind `_`, `-` and `/` and before `.`; figures last.
        """
        width = width or terminal_width()
        table = [[" ".join(cell.split()) for cell in row] for row in (self.columns, *self.rows)]
        widths, gap = self._widths(table, width)
        file = StringIO()
        console = Console(file=file, width=width, color_system=None, force_terminal=False)
        side: Any
        for rows, side in ((table[:1], "bottom"), (table[1:], "top")):
            grid = Grid(box=None, show_header=False, pad_edge=False, collapse_padding=True)
            grid.padding = (0, gap)
            for place, size in enumerate(widths):
                justify: Any = "left" if self.holds_words(place) else "right"
                grid.add_column(justify=justify, width=size, vertical=side, overflow="fold")
            for row in rows:
                cells = [
                    _folded(cell, widths[place]) if self.holds_words(place) else cell
                    for place, cell in enumerate(row)
                ]
                grid.add_row(*map(Text, cells))
            if rows:
                console.print(grid)
        lines = [line.rstrip() for line in file.getvalue().splitlines()]
        return "\n".join([*([f"{self.title}:"] if self.title else []), *lines])

    def _widths(self, table: list[list[str]], width: int) -> tuple[list[int], int]:
        """Widths of the columns and of the gaps between them, so that they fit if they can."""
        columns = list(zip(*table, strict=True))
        wanted = [max(map(cell_len, column)) for column in columns]
        in_words = [max(map(cell_len, " ".join(column).split()), default=0) for column in columns]
        in_cells = [
            max(map(cell_len, (*title.split(), *cells)), default=0) for title, *cells in columns
        ]
        least = [
            words if self.holds_words(place) else cells
            for place, (words, cells) in enumerate(zip(in_words, in_cells, strict=True))
        ]
        pieces = [
            max((cell_len(piece) for cell in column for piece in _PIECES.findall(cell)), default=0)
            if self.holds_words(place)
            else least[place]
            for place, column in enumerate(map(_words, columns))
        ]
        gap = 2 if sum(least) + 2 * (len(least) - 1) <= width else 1
        for needed in (in_cells, least, pieces, [1] * len(least)):
            while sum(wanted) + gap * (len(wanted) - 1) > width and wanted != needed:
                spare = [want - need for want, need in zip(wanted, needed, strict=True)]
                wanted[spare.index(max(spare))] -= 1
        return wanted, gap


def _words(cells: Sequence[str]) -> list[str]:
    return [word for cell in cells for word in cell.split()]


def _folded(text: str, width: int) -> str:
    """Breaks a cell into lines between words, and words that are too long between their pieces."""
    lines = [""]
    for word in text.split():
        if lines[-1] and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for piece in [word] if cell_len(word) <= width else _PIECES.findall(word):
            if lines[-1] and cell_len(lines[-1] + piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(filter(None, lines))


def terminal_width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def wrapped(text: str) -> str:
    """Breaks a paragraph, so that its lines fit the terminal."""
    width = min(terminal_width(), _MOST_COLUMNS)
    joined = text.replace(" %", "\0%")  # stays with its number
    filled = textwrap.fill(joined, width, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\0", " ")


def escape_markdown(text: str) -> str:
    """Keeps text from becoming markup, or the end of a cell, in Markdown."""
    text = plain(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKUP.sub(r"\\\g<0>", text)


def capitalized(words: str) -> str:
    """Begins words with a capital; what is in capitals stays so."""
    return words[:1].upper() + words[1:]


def figure(value: float | None, form: str = ".3f") -> str:
    """Writes a figure; a dash where there is none."""
    return "-" if value is None else format(value, form)


def points_interval(interval: tuple[float, float] | None) -> str:
    """An interval of shares in points, with signs: `-1.2 to +0.3`."""
    return "-" if interval is None else "{:+.1f} to {:+.1f}".format(*(100 * v for v in interval))
