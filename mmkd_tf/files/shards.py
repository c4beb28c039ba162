"""Reads a folder of shards, the Parquet files that `mmkd-tf data prepare` makes of a large table.

A picture is there as it is after decoding, so a model reads what it would read of the table.
"""

import json
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd_tf.files.csv_tables import TableError

SHARDS_FILE = "shards.json"
SHARD_KEY = b"mmkd_tf"  # in a file's footer, what the shard was made of and what was left out
FORM = 1  # another one where shards are written otherwise than before
ANSWERS = "answers-"  # begins names of folders within, of what a teacher says of the rows
_PART = re.compile(r"part-(\d{5,})-of-(\d{5,})\.parquet")
_LISTED = 10


def shard_name(index: int, total: int) -> str:
    """The name of a shard's file, `index` from 0.

    Examples:
        >>> shard_name(0, 16)
        'part-00000-of-00016.parquet'
    """
    return f"part-{index:05d}-of-{total:05d}.parquet"


def shard_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """The shards that are in a folder, by index and number of all of them."""
    found = {}
    for path in sorted(folder.glob("part-*.parquet")):
        if match := _PART.fullmatch(path.name):
            found[path] = int(match[1]), int(match[2])
    return found


def is_shards(source) -> bool:
    """Whether a source of data is a folder of shards, finished or not."""
    folder = Path(source)
    if not os.path.isdir(folder):  # which fails on no name, however long
        return False
    return (folder / SHARDS_FILE).is_file() or bool(shard_files(folder))


def read_footer(path: Path) -> dict | None:
    """What a shard says of itself; None where it is no whole shard."""
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(path)
        found = json.loads((metadata.metadata or {})[SHARD_KEY])
        return found if found["rows"] == metadata.num_rows else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class Shards:
    """A folder of shards that is whole.

    Attributes:
        folder: The folder.
        manifest: What its `shards.json` holds.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Shards":
        """Compares the files with the manifest; they are not read.

        Raises:
            TableError: If the folder is not finished, or files are missing or of another size.
        """
        again = "Run the same `mmkd-tf data prepare` again: it makes what is missing."
        there = shard_files(folder)
        if not (folder / SHARDS_FILE).is_file():
            totals = {total for _, total in there.values()}
            said = f"{len(there):,} shards without {SHARDS_FILE}"
            if len(totals) == 1:
                names = {path.name for path in there}
                wanted = [shard_name(index, total) for total in totals for index in range(total)]
                lost = [name for name in wanted if name not in names]
                said = f"{len(there):,} of {len(wanted):,} shards"
                said += f"; not there: {listed(lost)}" if lost else f", but no {SHARDS_FILE}"
            raise TableError(
                f"{folder}: expected a finished folder of shards. Received: {said}. {again}"
            )
        try:
            manifest = json.loads((folder / SHARDS_FILE).read_text(encoding="utf-8"))
            shards, columns = manifest["shards"], manifest["columns"]
            form, wanted = manifest["form"], {one["file"]: one["bytes"] for one in shards}
            fits = all(map(_PART.fullmatch, wanted)) and isinstance(columns, list)
        except (OSError, ValueError, LookupError, TypeError):
            form, fits, wanted = None, False, {}
        if not fits or form != FORM:
            raise TableError(
                f"{folder / SHARDS_FILE}: damaged, or of another version. Remove it. {again}"
            )
        wrong = []
        for name, size in wanted.items():
            path = folder / name
            if not path.is_file():
                wrong.append(f"{name} is not there")
            elif path.stat().st_size != size:
                wrong.append(f"{name} has {path.stat().st_size:,} of {size:,} bytes")
        if wrong:
            raise TableError(
                f"{folder}: expected the {len(wanted):,} shards of {SHARDS_FILE}. Received: "
                f"{listed(wrong)}. Copy them again, or remove those that are wrong. {again}"
            )
        return cls(folder, manifest)

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return [str(one["name"]) for one in self.manifest["columns"]]

    @property
    def sizes(self) -> dict[str, int]:
        """Of columns of pictures, height and width in pixels."""
        return {one["name"]: one["size"] for one in self.manifest["columns"] if "size" in one}

    def cells(self, column: str) -> Sequence:
        """Cells of a column; of pictures they are read when they are asked for."""
        if column in self.sizes:
            return PictureCells(self, column)
        import pyarrow as pa

        parts = [part for path in self.files for part in read_groups(path, column)]
        # As pandas reads a Parquet file, so that a cell is the same there and here.
        return pa.chunked_array([part for one in parts for part in one.chunks]).to_pandas().tolist()

    def only(self, file: str) -> "Shards":
        """One of the shards, as if there were no others."""
        entries = [one for one in self.manifest["shards"] if one["file"] == file]
        return Shards(self.folder, {**self.manifest, "shards": entries})

    @property
    def files(self) -> list[Path]:
        """The shards in order."""
        return [self.folder / one["file"] for one in self.manifest["shards"]]


def read_groups(
    path: Path, column: str, groups: Sequence[int] | None = None, *, made_by: str = "prepare"
) -> Iterator[Any]:
    """Reads a column of a shard, row group by row group, as Arrow has it."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups) if groups is None else groups:
                yield file.read_row_group(group, columns=[column]).column(0)
    except (OSError, ValueError) as error:
        raise TableError(
            f"{path}: a damaged shard ({error}). Remove it, and run the same `mmkd-tf data "
            f"{made_by}` again."
        ) from error


class PictureCells(Sequence):
    """The pictures of a column of shards: uint8 `[size, size, 3]`, or None where there is none.

    A row group is held at a time.

    Attributes:
        mark: What tells these cells from those of other shards.
    """

    def __init__(self, shards: Shards, column: str):
        import pyarrow.parquet

        self._column, self._size = column, shards.sizes[column]
        self.mark = json.dumps(
            [column, *([one["file"], one["sha256"]] for one in shards.manifest["shards"])]
        )
        self._groups, self._starts, start = [], [], 0
        for path in shards.files:
            metadata = pyarrow.parquet.read_metadata(path)
            for group in range(metadata.num_row_groups):
                self._groups.append((path, group))
                self._starts.append(start)
                start += metadata.row_group(group).num_rows
        self._number = start
        self._held: tuple[int, list] = (-1, [])

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._cell(row) for row in range(*index.indices(self._number))]
        if not -self._number <= index < self._number:
            raise IndexError(index)
        return self._cell(index % self._number)

    def __iter__(self):
        return map(self._cell, range(self._number))

    def _cell(self, row: int):
        import numpy as np

        group = bisect_right(self._starts, row) - 1
        if self._held[0] != group:
            path, number = self._groups[group]
            (cells,) = read_groups(path, self._column, [number])
            self._held = group, cells.to_pylist()
        content = self._held[1][row - self._starts[group]]
        if content is None:
            return None
        return np.frombuffer(content, np.uint8).reshape(self._size, self._size, 3)


class CellTuples(Sequence):
    """Cells of several columns row by row, as tuples, of which few are held at a time."""

    def __init__(self, columns: Sequence[Sequence]):
        self._columns = columns
        marks = [getattr(cells, "mark", None) for cells in columns]
        self.mark = None if None in marks else json.dumps(marks)

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, index):
        found = [cells[index] for cells in self._columns]
        return list(zip(*found, strict=True)) if isinstance(index, slice) else tuple(found)

    def __iter__(self):
        return zip(*self._columns, strict=True)


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many there are more."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")
