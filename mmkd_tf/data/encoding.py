"""Decodes the bytes of a text file, or says what is wrong with them."""

from pathlib import Path

from mmkd_tf.data.cells import quote


class TableError(ValueError):
    """A table that can't be read, or lacks a column."""


def decode(content: bytes, path: Path) -> str:
    """Decodes the content of a text file, with or without a byte order mark.

    Raises:
        TableError: If it isn't UTF-8: says where, what it probably is, and what to do.
    """
    is_utf16 = b"\0" in content[:100]  # every other byte of a Latin letter
    try:
        text = content.decode("utf-8-sig")
        if not is_utf16:
            return text
    except UnicodeDecodeError as error:
        start = error.start
    if is_utf16:
        encoding, there = "UTF-16", "from its first byte on"
    else:
        encoding = "Windows-1252"
        near = content[max(0, start - 15) : start + 15].decode("cp1252", errors="replace")
        line = content.count(b"\n", 0, start) + 1
        there = f"at byte {start:,}, in line {line:,}, near {quote(near)}"
    raise TableError(
        f"{path}: not UTF-8 {there}. The encoding is probably {encoding}: save the table as "
        f"'CSV UTF-8', or run: iconv -f {encoding.upper()} -t UTF-8 '{path.name}' > utf8.csv"
    )
