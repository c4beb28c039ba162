"""Tabular: cells of several columns -> float32 numbers -> bins and category vectors -> features.

References:
    Gorishniy, Rubachev, Babenko: On Embeddings for Numerical Features in Tabular Deep Learning,
    2022 (piecewise-linear encoding by quantiles, section 3.2).
"""

import itertools
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from pydantic import Field, model_validator

from mmkd_tf.edge.tabular import COLUMNS_FILE, NO_VALUE, TabularReader, days, read_cell, read_row
from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.modality import Damage, InputOptions, Modality

_BINS = 32  # of the teacher; the student's are four together
_LOST, _NOISE = 0.1, 0.05  # share of cells that training leaves out; noise by a column's spread
_MOST_LIKE = 0.9  # share of cells by which a column's kind is known
_PERIODS = (365.2425, 7.0, 1.0)  # days of a year, a week, a day
_KIND_OF = {float: "numeric", str: "categorical", datetime: "date"}

Row = tuple[float | str | datetime | None, ...]


class TabularOptions(InputOptions):
    """What settings say of cells of a table."""

    kind: Literal["tabular"] = "tabular"
    columns: list[str] | None = Field(
        None, description="Columns that are read together; in place of `column`."
    )
    kinds: dict[str, Literal["numeric", "categorical", "date"]] = Field(
        {}, description="What columns hold; found by nine in ten of their cells where not said."
    )
    most_categories: int = Field(
        1000, ge=1, le=100_000, description="Most categories of a column; rarer ones are unknown."
    )

    @model_validator(mode="after")
    def _columns_fit(self):
        there = self.columns or ([self.column] if self.column else [])
        if self.columns == [] or len({*there}) < len(there) or not {*self.kinds} <= {*there}:
            raise ValueError(f"`columns`: each once, and all of `kinds`: {', '.join(self.kinds)}")
        return self


class Tabular(Modality[Sequence[Row], TabularOptions]):
    """Cells of some columns, float32 `[1 + 2 * columns]`, see `TabularReader`; zeros is absent.

    A category that is not in the list is a zero that is there, which models take for a missing
    cell. Raw values are tuples of float, datetime, str and None.

    Args:
        name: Name of the input.
        columns: Of each column a dict: `name`; `kind`, numeric, categorical or date; `categories`,
            the more frequent first; of the others `quantiles`, from the least number to the most.
    """

    kind = "tabular"
    Options = TabularOptions
    noun = "row of cells"
    form = "[batch, 1 + 2 * columns]"
    keeps_raw = in_heads = True
    limits = "Categories that training rows had once or never count as missing cells."
    example = '{"column": "cell"}'

    def __init__(self, name: str = "tabular", *, columns: Sequence[dict]):
        self.name, self.columns = name, list(columns)
        self._width = 1 + 2 * len(self.columns)
        self._reader = TabularReader(name, (self._width,), np.dtype("float32"), {}, self.files())
        # Of normal numbers the standard deviation, by the distance of their quartiles.
        ends = [c["quantiles"] if c["kind"] == "numeric" else [0.0] * (1 + _BINS) for c in columns]
        self._spread = np.array([(at[24] - at[8]) / 1.349 for at in ends], np.float32)
        lost, noise = (0.15, 0.3, 0.45, 0.6, 0.75), (0.1, 0.2, 0.5, 1.0, 2.0)
        self.damages = {"missing_cells": Damage(_lose, lost, "share of the cells left out")}
        if self._spread.any():
            self.damages["noise"] = Damage(self._disturbed, noise, "standard deviation of a column")

    @classmethod
    def read(
        cls,
        cells: Iterable,
        options: TabularOptions,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[list[Row], dict[int, str]]:
        rows = [cell if isinstance(cell, tuple) else (cell,) for cell in cells]
        columns = [
            {"name": name, "kind": options.kinds.get(name) or _likely_kind(row[at] for row in rows)}
            for at, name in enumerate(options.columns_of("value"))
        ]
        read = [read_row(columns, row) for row in rows]
        wrong = {at: f"{cls.noun}: {'; '.join(why)}" for at, (_, why) in enumerate(read) if why}
        return [row for row, _ in read], wrong

    @classmethod
    def absent(cls, values: Sequence[Row]) -> np.ndarray:
        return np.array([all(cell is None for cell in row) for row in values], bool)

    @classmethod
    def content_keys(cls, values: Sequence[Row]) -> list[bytes]:
        return [repr(row).encode(errors="surrogatepass") for row in values]

    @classmethod
    def fit(cls, name: str, values: Sequence[Row], options: TabularOptions) -> Self:
        """Finds quantiles and categories, which two training rows have at least."""
        columns = [
            {"name": column, **_fitted([row[at] for row in values], options.most_categories)}
            for at, column in enumerate(options.columns_of(name))
        ]
        if idle := [c["name"] for c in columns if not (c.get("categories") or _edges(c))]:
            warnings.warn(
                f"{name}: columns that say nothing, since training rows have no two values of them "
                f"(or no category twice): {', '.join(idle)}.",
                stacklevel=2,
            )
        return cls(name, columns=columns)

    def for_student(self, values: Sequence[Row], **changes: Any) -> None:
        if changes:
            raise ValueError(f"`{self.name}`: students read what teachers do. Received: {changes}.")

    def to_tensor(self, raw: Sequence[Row]) -> tf.Tensor:
        """Turns rows into numbers; not in a graph, as rows are Python's.

        Raises:
            ValueError: If a cell is of another kind than its column was in training.
        """
        rows = [self._reader(row) for row in raw]
        return tf.constant(np.reshape(rows, [-1, self._width]), tf.float32)

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Leaves out a tenth of the cells, adds noise of a twentieth of a column's spread."""
        size = len(self.columns)
        draws = uniform_draws(seeds, 2 * size)
        there = batch[:, 1 + size :] * tf.cast(draws[:, :size] >= _LOST * self.strength, tf.float32)
        # Of a uniform number the standard deviation is its width by the root of 12.
        noise = (draws[:, size:] - 0.5) * (12**0.5 * _NOISE * self.strength) * self._spread
        return tf.concat([batch[:, :1], (batch[:, 1 : 1 + size] + noise) * there, there], axis=1)

    def _disturbed(self, row: Row, amount: float, rng: np.random.Generator) -> Row:
        """Adds Gaussian noise of `amount` times a column's spread to its numbers."""
        noise = rng.standard_normal(len(self.columns)) * self._spread
        return tuple(
            float(cell + amount * more) if more and isinstance(cell, float) else cell
            for cell, more in zip(row, noise, strict=True)
        )

    def fingerprint(self) -> bytes:
        return json.dumps(self.columns).encode()

    def input(self) -> keras.KerasTensor:
        return keras.Input([self._width], dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Bins of 32 quantiles, category vectors of 64, dense layers 384, 256, 128."""
        x = self._cells(inputs, every=1, dim=64, rate=_LOST)
        for index, units in enumerate((384, 256)):
            x = layers.Dense(units, activation="relu", name=f"{self.name}_dense{index}")(x)
            x = layers.Dropout(0.2, name=f"{self.name}_dropout{index}")(x)
        return layers.Dense(128, activation="relu", name=f"{self.name}_features")(x)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Bins of 8 quantiles, category vectors of 3, dense layers 48 and 32."""
        x = self._cells(inputs, every=4, dim=3, rate=0.0)
        x = layers.Dense(48, activation="relu", name=f"{self.name}_dense0")(x)
        return layers.Dense(32, activation="relu", name=f"{self.name}_features")(x)

    def _cells(self, rows, *, every: int, dim: int, rate: float) -> keras.KerasTensor:
        """What dense layers take of rows; zeros of what is missing.

        Of each column whether it is there; of a number and a date how far it has come through each
        bin, -1 to 1, which no outlier moves; of a date also sine and cosine of its place in a year,
        a week and a day; of a category a learnt vector.
        """
        size, columns = len(self.columns), list(enumerate(self.columns))
        values, there = rows[:, 1 : 1 + size], rows[:, 1 + size :]
        # Dropout scales what it leaves. A category that is not known is one that is missing.
        there = layers.Dropout(rate, dtype="float32", name=f"{self.name}_lost")(there)
        others = np.array(["categories" not in column for column in self.columns], np.float32)
        there = ops.minimum(ops.minimum(there, 1), ops.maximum(values, others))
        parts = [there]
        bins = [(at, *b) for at, each in columns for b in itertools.pairwise(_edges(each, every))]
        if bins:
            at, low, high = np.array(bins, np.float32).T
            come, known = (ops.take(x, at.astype(int), axis=1) for x in (values, there))
            parts.append((2 * ops.clip((come - low) / (high - low), 0, 1) - 1) * known)
        cycles = [(at, one) for at, each in columns if each["kind"] == "date" for one in _PERIODS]
        if cycles:
            at, period = np.array(cycles, np.float32).T
            passed, known = (ops.take(x, at.astype(int), axis=1) for x in (values, there))
            # The rest is exact in any arithmetic; a number of turns that is rounded is not.
            passed -= ops.floor(passed / period) * period
            angle = passed / period * (2 * np.pi)
            parts += [ops.sin(angle) * known, ops.cos(angle) * known]
        named = {at: len(each["categories"]) for at, each in columns if each.get("categories")}
        if named:
            sizes = np.array([*named.values()], np.float32)
            place = ops.minimum(ops.relu(ops.take(values, [*named], axis=1)), sizes)
            more = {"dtype": "float32", "name": f"{self.name}_categories"}
            table = layers.Embedding(1 + int(sizes.sum()), dim, "glorot_uniform", **more)
            vectors = table(ops.cast(place + (np.cumsum(sizes) - sizes), "int32"))
            vectors = vectors * ops.expand_dims(ops.take(there, [*named], axis=1), 2)
            parts.append(ops.reshape(vectors, [-1, len(named) * dim]))
        return layers.Concatenate(dtype="float32", name=f"{self.name}_cells")(parts)

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Reads lines of CSV in the columns' order: numbers, days, and places of categories."""
        size, content = len(self.columns), tf.convert_to_tensor(content)
        lines = tf.where(content == "", ",".join(['""'] * size), content)
        cells = tf.stack(tf.io.decode_csv(lines, [[""]] * size), axis=1)
        there = tf.cast(cells != "", tf.float32)
        numbers = tf.strings.to_number(tf.where(cells == "", "0", cells))
        return tf.concat([tf.reduce_max(there, 1, keepdims=True), numbers, there], axis=1)

    def encode(self, tensors: np.ndarray) -> list[str]:
        halves = (zip(*np.split(row[1:], 2), strict=True) for row in np.asarray(tensors))
        return [",".join(f"{n:.9g}" if there else "" for n, there in each) for each in halves]

    def file_description(self, dtype: str) -> dict:
        return {
            "layout": "1, a number of each column, then of each 1 if the cell is there, or 0",
            "columns": [column["name"] for column in self.columns],
            "missing": "0 and 0",
            "dates": "days since 1970-01-01",
            "categories": f"places in the lists of {COLUMNS_FILE}, from 1; 0 and 1 of others",
        }

    def files(self) -> dict[str, str]:
        told = [{key: c[key] for key in c if key != "quantiles"} for c in self.columns]
        return {COLUMNS_FILE: json.dumps(told, ensure_ascii=False)}

    @classmethod
    def missing(cls) -> str:
        return "a row with a cell that is filled"

    def shown(self, value: Row) -> dict[str, str]:
        named = zip(self.columns, value, strict=True)
        said = [f"{column['name']} {cell}" for column, cell in named if cell is not None]
        return {"form": "text", "words": ", ".join(said)[:400]}

    def describe(self) -> str:
        counts = Counter(column["kind"] for column in self.columns)
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        return f"cells of {len(self.columns)} columns ({kinds})"


def _likely_kind(cells: Iterable) -> str:
    """The kind that nearly all cells are of."""
    # What is meant as a number or a date is one, though it has a comma or is out of range: it is
    # listed as a problem.
    texts = [str(cell).strip().replace(",", "") for cell in cells]
    there = [text for text in texts if text.lower() not in NO_VALUE]
    for kind, reason in (("numeric", "no number such as"), ("date", "no date such as")):
        found = (read_row([{"name": "", "kind": kind}], [text])[1] for text in there)
        if there and sum(reason not in "".join(one) for one in found) >= _MOST_LIKE * len(there):
            return kind
    return "categorical"


def _fitted(cells: Sequence, most_categories: int) -> dict:
    """What is known of a column by its training cells."""
    there = [cell for cell in cells if cell is not None]
    kinds = {_KIND_OF[type(cell)] for cell in there}
    kind = kinds.pop() if len(kinds) == 1 else "categorical"
    if kind == "categorical":
        counts = Counter(read_cell(kind, cell) for cell in there)
        names = sorted((name for name in counts if counts[name] > 1), key=lambda n: (-counts[n], n))
        return {"kind": kind, "categories": names[:most_categories]}
    numbers = [days(cell) if kind == "date" else cell for cell in there]
    quantiles = np.quantile(numbers, np.linspace(0, 1, 1 + _BINS)).astype(np.float32)
    return {"kind": kind, "quantiles": quantiles.tolist()}


def _edges(column: dict, every: int = 1) -> list[float]:
    """Edges of a column's bins, none where all its values are one."""
    edges = np.unique(column.get("quantiles", [])[::every]).tolist()
    return edges if len(edges) > 1 else []


def _lose(row: Row, amount: float, rng: np.random.Generator) -> Row:
    """Leaves each cell out with probability `amount`, but never all that are there."""
    chances = rng.random(len(row))
    there = [at for at, cell in enumerate(row) if cell is not None]
    kept = max(there, key=chances.__getitem__)
    return tuple(c if chances[at] >= amount or at == kept else None for at, c in enumerate(row))
