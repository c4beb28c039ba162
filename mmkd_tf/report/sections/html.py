"""Pieces of HTML that all sections are made of; whatever comes in is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """HTML that is to stay as it is, where other text is escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Escapes a value, unless it is markup already."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """Writes an element.

    Args:
        name: Its name.
        *content: What is in it, one after the other.
        **attributes: Its attributes; a trailing underscore is dropped, so that `class_` works.
            Those that are None are left out.
    """
    given = "".join(
        f' {key.rstrip("_")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(map(text, content))}</{name}>")


def section(title: str, *content: object) -> Markup:
    """Writes a section with its heading."""
    return tag("section", tag("h2", title), *content)


def paragraph(*content: object, quiet: bool = False) -> Markup:
    """Writes a paragraph; a quiet one is a remark."""
    return tag("p", *content, class_="quiet" if quiet else None)


def folded(title: str, *content: object) -> Markup:
    """Writes what is only shown when asked for."""
    return tag("details", tag("summary", title), *content)


def table(
    columns: Sequence[object], rows: Iterable[Sequence[object]], *, num_words: int = 1
) -> Markup:
    """Writes a table that scrolls sideways where the window is narrow.

    Args:
        columns: The header.
        rows: Cells; the first is the row's heading.
        num_words: So many columns hold words, as do those without a heading; the others hold
            figures, which stand to the right.
    """
    words = [index < num_words or not column for index, column in enumerate(columns)]
    kinds = [None if is_words else "figure" for is_words in words]
    head = [tag("th", c, scope="col", class_=k) for c, k in zip(columns, kinds, strict=True)]
    body = []
    for first, *others in rows:
        cells = [tag("td", c, class_=k) for c, k in zip(others, kinds[1:], strict=True)]
        body.append(tag("tr", tag("th", first, scope="row", class_=kinds[0]), *cells))
    content = tag("thead", tag("tr", *head)), tag("tbody", *body)
    return tag("div", tag("table", *content), class_="scroll", tabindex=0)


def bar(share: float, shown: str) -> Markup:
    """Writes a figure over a bar as long as its share, 0 to 1, of the cell."""
    width = 100 * min(max(share, 0), 1)
    return tag("span", shown, class_="bar", style=f"--share: {width:.1f}%")
