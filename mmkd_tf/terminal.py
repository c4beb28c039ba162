"""Writes to the terminal: what comes from data can't move the cursor, hide text or stop a line."""

import re

# Controls but for line feed and tab, marks that turn the direction of text, halves of surrogate
# pairs (which no stream takes). In the form of JSON, so that JSON stays what it says.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    r"""Gives a text with its control characters written out.

    Examples:
        >>> print(plain("red \x1b[31mcup"))
        red \u001b[31mcup
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def echo(text: str = "", *, err: bool = False) -> None:
    """Writes a text and a line feed to standard output, or to standard error."""
    import typer

    typer.echo(plain(text), err=err)
