"""Tabular: cells of several columns -> float32 numbers -> bins and category vectors -> features.

References:
    Gorishniy, Rubachev, Babenko: On Embeddings for Numerical Features in Tabular Deep Learning,
    2022 (piecewise-linear encoding by quantiles, section 3.2).
"""

import csv
import io
import itertools
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from pydantic import Field, model_validator

from mmkd_tf.edge.tabular import (
    CATEGORICAL,
    COLUMNS_FILE,
    DATE,
    FIRST_YEAR,
    NUMERIC,
    is_like_date,
    is_like_number,
    is_missing,
    quoted,
    read_category,
    read_date,
    read_number,
)
from mmkd_tf.modalities.draws import uniform_draws
from mmkd_tf.modalities.modality import Damage, InputOptions, Modality

_TEACHER_BINS, _STUDENT_BINS = 32, 8
_TEACHER_DIM, _STUDENT_DIM = 64, 3  # of a category's vector
_LOST = 0.1  # share of the cells that training leaves out
_NOISE = 0.05  # of a column's spread
_MOST_LIKE = 0.9  # share of cells by which a column's kind is known
_WEEK, _YEAR, _DAY = 7.0, 365.2425, 1.0
_EPOCH = datetime(1970, 1, 1)

Row = tuple[float | str | None, ...]


class Days(float):
    """A date as days since 1970-01-01, so that it is no number of another column."""

    def __repr__(self) -> str:
        moment = _EPOCH + timedelta(days=float(self))
        return f"{moment:%Y-%m-%d}" if self.is_integer() else f"{moment:%Y-%m-%d %H:%M:%S}"


KIND_OF = {str: CATEGORICAL, Days: DATE, float: NUMERIC}


class TabularOptions(InputOptions):
    """What settings say of cells of a table."""

    kind: Literal["tabular"] = "tabular"
    columns: list[str] | None = Field(
        None, description="Columns that are read together; in place of `column`."
    )
    numeric: list[str] = Field([], description="Those that hold numbers; found where not said.")
    categorical: list[str] = Field([], description="Those that hold names of categories.")
    dates: list[str] = Field([], description="Those that hold dates, with times or without.")
    day_first: bool | None = Field(
        None, description="What the date 3/4/2023 is: true for April, false for March."
    )
    first_year: int = Field(FIRST_YEAR, ge=1, le=9999, description="Dates before are mistakes.")
    most_categories: int = Field(
        1000, ge=1, le=100_000, description="Most categories of a column; rarer ones are unknown."
    )

    @model_validator(mode="after")
    def _columns_fit(self):
        said = [*self.numeric, *self.categorical, *self.dates]
        there = self.columns or ([self.column] if self.column else [])
        if len({*said}) < len(said) or len({*there}) < len(there) or self.columns == []:
            raise ValueError("`columns`, `numeric`, `categorical`, `dates`: each column once")
        if missing := [column for column in said if column not in there]:
            raise ValueError(f"`columns`: all that are named further on; it lacks {missing}")
        return self

    def said_kind(self, column: str) -> str | None:
        """The kind of a column that settings name."""
        said = {NUMERIC: self.numeric, CATEGORICAL: self.categorical, DATE: self.dates}
        return next((kind for kind, columns in said.items() if column in columns), None)


class Tabular(Modality[Sequence[Row], TabularOptions]):
    """Cells of some columns, float32 `[1 + 2 * columns]`; all zeros is absent.

    In front is a one; then there is of each column a number (a date's days since 1970-01-01, a
    category's place in its list, from 1), then of each a one if the cell is there; zeros stand for
    what is missing. A category that is not in the list is a zero that is there, which models take
    for a missing cell. Raw values are tuples of float, `Days`, str and None.

    Args:
        name: Name of the input.
        columns: Of each column a dict: `name`; `kind`, numeric, categorical or date; `categories`,
            the more frequent first; of the others `edges`, quantiles for the teacher, and
            `student_edges`; of numbers `spread`, robust standard deviation; of dates `periods`,
            days of the cycles that they are read by, `day_first` and `first_year`.
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
        self._spread = np.array([column.get("spread", 0.0) for column in columns], np.float32)
        self.damages = {"missing_cells": _MISSING_CELLS}
        if self._spread.any():
            self.damages["noise"] = Damage(
                self._disturbed, (0.1, 0.2, 0.5, 1.0, 2.0), "standard deviation, of a column's own"
            )

    # Reading raw values.

    @classmethod
    def read(
        cls,
        cells: Iterable,
        options: TabularOptions,
        *,
        folder: Path | None = None,
        allow_outside: bool = False,
    ) -> tuple[list[Row], dict[int, str]]:
        names = options.columns_of("value")
        rows = [cell if isinstance(cell, tuple) else (cell,) * len(names) for cell in cells]
        problems: dict[int, list[str]] = {}
        columns = [
            _read_column(name, [row[at] for row in rows], options, problems)
            for at, name in enumerate(names)
        ]
        wrong = {index: f"{cls.noun}: {'; '.join(each)}" for index, each in problems.items()}
        return list(zip(*columns, strict=True)), wrong

    @classmethod
    def absent(cls, values: Sequence[Row]) -> np.ndarray:
        return np.array([all(cell is None for cell in row) for row in values], bool)

    @classmethod
    def content_keys(cls, values: Sequence[Row]) -> list[bytes]:
        return [repr(row).encode(errors="surrogatepass") for row in values]

    @classmethod
    def fit(cls, name: str, values: Sequence[Row], options: TabularOptions) -> Self:
        """Finds kinds, quantiles and categories, which two training rows have at least."""
        names, columns = options.columns_of(name), []
        for at, column in enumerate(names):
            there = [row[at] for row in values if len(row) == len(names) and row[at] is not None]
            columns.append({"name": column, **_fitted(there, options.said_kind(column), options)})
        if idle := [c["name"] for c in columns if not (c.get("edges") or c.get("categories"))]:
            warnings.warn(
                f"{name}: columns that say nothing, since training rows have no two values of them "
                f"(or no category twice): {', '.join(idle)}.",
                stacklevel=2,
            )
        return cls(name, columns=columns)

    def for_student(self, values: Sequence[Row], **changes: Any) -> None:
        if changes:
            raise ValueError(f"`{self.name}`: students read what teachers do. Received: {changes}.")

    # Tensors.

    def to_tensor(self, raw: Sequence[Row]) -> tf.Tensor:
        """Turns rows into numbers; not in a graph, as rows are Python's.

        Raises:
            ValueError: If a cell is of another kind than its column was in training.
        """
        places = [
            {category: place for place, category in enumerate(column.get("categories", ()), 1)}
            for column in self.columns
        ]
        numbers = np.zeros([len(raw), 1 + 2 * len(self.columns)], np.float32)
        wrong = {}
        for row, into in zip(raw, numbers, strict=True):
            for at, cell in enumerate(row):
                if cell is None:
                    continue
                column = self.columns[at]
                if column["kind"] == CATEGORICAL:
                    found = places[at].get(cell if isinstance(cell, str) else _name_of(cell), 0)
                elif isinstance(cell, str) or isinstance(cell, Days) != (column["kind"] == DATE):
                    wrong[column["name"]] = (column["kind"], cell)
                    continue
                else:
                    found = cell
                into[[0, 1 + at, 1 + len(self.columns) + at]] = 1, found, 1
        if wrong:
            found = "; ".join(
                f"'{c}' was {k} and has {quoted(cell)}" for c, (k, cell) in wrong.items()
            )
            raise ValueError(
                f"`{self.name}`: columns of the same kind as in training. Received: {found}. Name "
                "their kinds in `numeric`, `categorical` and `dates`, and such rows are listed."
            )
        return tf.constant(numbers)

    def augment(self, batch: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Leaves out a tenth of the cells and adds noise of a twentieth of a column's spread.

        Both times `strength`.
        """
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

    # Models.

    def input(self) -> keras.KerasTensor:
        return keras.Input([1 + 2 * len(self.columns)], dtype="float32", name=self.name)

    def teacher_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Bins of 32 quantiles, category vectors of 64, dense layers 384, 256, 128."""
        x = self._cells("edges", _TEACHER_DIM, _LOST)(inputs)
        for index, units in enumerate((384, 256)):
            x = layers.Dense(units, activation="relu", name=f"{self.name}_dense{index}")(x)
            x = layers.Dropout(0.2, name=f"{self.name}_dropout{index}")(x)
        return layers.Dense(128, activation="relu", name=f"{self.name}_features")(x)

    def student_encoder(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Bins of 8 quantiles, category vectors of 3, dense layers 48 and 32."""
        x = self._cells("student_edges", _STUDENT_DIM, 0.0)(inputs)
        x = layers.Dense(48, activation="relu", name=f"{self.name}_dense0")(x)
        return layers.Dense(32, activation="relu", name=f"{self.name}_features")(x)

    def _cells(self, edges: str, dim: int, rate: float) -> "Cells":
        return Cells(
            edges=[column.get(edges, []) for column in self.columns],
            periods=[column.get("periods", []) for column in self.columns],
            sizes=[len(c["categories"]) if "categories" in c else None for c in self.columns],
            dim=dim,
            rate=rate,
            name=f"{self.name}_cells",
        )

    # Exported files.

    def decode(self, content: tf.Tensor) -> tf.Tensor:
        """Reads lines of CSV: numbers, days since 1970-01-01, and names, in the columns' order."""
        content = tf.convert_to_tensor(content)
        there, blank = content != "", ",".join(['""'] * len(self.columns))
        lines = tf.where(there, content, blank)
        numbers, known = [], []
        for column, cells in zip(
            self.columns, tf.io.decode_csv(lines, [[""]] * len(self.columns)), strict=True
        ):
            known.append(tf.cast(cells != "", tf.float32))
            if column["kind"] == CATEGORICAL:
                names = tf.constant(column["categories"], tf.string)
                same = tf.cast(cells[:, tf.newaxis] == names, tf.float32)
                numbers.append(same @ tf.range(1.0, 1.0 + len(column["categories"]))[:, None])
            else:
                numbers.append(tf.strings.to_number(tf.where(cells != "", cells, "0"))[:, None])
        front = tf.cast(there, tf.float32)[:, tf.newaxis]
        return tf.concat([front, *numbers, tf.stack(known, axis=1)], axis=1)

    def encode(self, tensors: np.ndarray) -> list[str]:
        lines = []
        for row in np.asarray(tensors):
            line = io.StringIO()
            cells = map(self._as_text, range(len(self.columns)), [row] * len(self.columns))
            csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow(cells)
            lines.append(line.getvalue() if row.any() else "")
        return lines

    def _as_text(self, at: int, row: np.ndarray) -> str:
        if not row[1 + len(self.columns) + at]:
            return ""
        categories = self.columns[at].get("categories")
        if categories is None:
            return f"{row[1 + at]:.9g}"
        unknown = "x" * (1 + max(map(len, categories), default=0))
        return [unknown, *categories][int(row[1 + at])]

    def file_description(self, dtype: str) -> dict:
        return {
            "layout": "1, a number of each column, then of each 1 if the cell is there, or 0",
            "columns": [column["name"] for column in self.columns],
            "missing": "0 and 0",
            "dates": "days since 1970-01-01",
            "categories": f"places in the lists of {COLUMNS_FILE}, from 1; 0 and 1 of others",
        }

    def files(self) -> dict[str, str]:
        kept = ("name", "kind", "categories", "day_first", "first_year")
        told = [{key: one[key] for key in kept if key in one} for one in self.columns]
        return {COLUMNS_FILE: json.dumps(told, ensure_ascii=False)}

    # Words.

    @classmethod
    def missing(cls) -> str:
        return "a row with a cell that is filled"

    def shown(self, value: Row) -> dict[str, str]:
        pairs = zip(self.columns, value, strict=True)
        said = [
            f"{column['name']} {f'{cell:.6g}' if type(cell) is float else cell}"
            for column, cell in pairs
            if cell is not None
        ]
        return {"form": "text", "words": ", ".join(said)[:400]}

    def describe(self) -> str:
        counts = Counter(column["kind"] for column in self.columns)
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        return f"cells of {len(self.columns)} columns ({kinds})"


def _read_column(name, cells: list, options: TabularOptions, problems: dict) -> list:
    """Reads cells of a column; adds to `problems`, by index, what is wrong."""
    kind, read = options.said_kind(name) or _likely_kind(cells), []
    for index, cell in enumerate(cells):
        value: float | str | None = None
        try:
            if kind == CATEGORICAL:
                value = read_category(cell)
            elif kind == NUMERIC:
                value = read_number(cell)
            else:
                days = read_date(cell, day_first=options.day_first, first_year=options.first_year)
                value = None if days is None else Days(days)
        except ValueError as error:
            problems.setdefault(index, []).append(f"column '{name}' {quoted(cell)}, {error}")
        read.append(value)
    return read


def _likely_kind(cells: Sequence) -> str:
    """The kind that nearly all cells are of."""
    there = [cell for cell in cells if not is_missing(cell)]
    for kind, is_like in ((DATE, is_like_date), (NUMERIC, is_like_number)):
        if there and sum(map(is_like, there)) >= _MOST_LIKE * len(there):
            return kind
    return CATEGORICAL


def _name_of(number: float) -> str:
    return repr(number).removesuffix(".0")


def _fitted(there: list, kind: str | None, options: TabularOptions) -> dict:
    """What is known of a column by its training cells, the missing ones left out."""
    if kind is None:
        kinds = {KIND_OF[type(cell)] for cell in there}
        kind = kinds.pop() if len(kinds) == 1 else CATEGORICAL
    if kind == CATEGORICAL:
        counts = Counter(c if isinstance(c, str) else _name_of(c) for c in there)
        names = sorted((name for name in counts if counts[name] > 1), key=lambda n: (-counts[n], n))
        return {"kind": kind, "categories": names[: options.most_categories]}
    made: dict[str, Any] = {"kind": kind}
    for edges, bins in (("edges", _TEACHER_BINS), ("student_edges", _STUDENT_BINS)):
        quantiles = np.quantile(there, np.linspace(0, 1, 1 + bins)) if there else np.zeros(1)
        apart = np.unique(quantiles.astype(np.float32)).tolist()
        made[edges] = apart if len(apart) > 1 else []
    if kind == NUMERIC and made["edges"]:
        low, high = np.quantile(there, [0.25, 0.75])
        spread = (high - low) / 1.349  # of normal numbers the standard deviation
        made["spread"] = float(spread or np.clip(there, *np.quantile(there, [0.01, 0.99])).std())
    if kind == DATE:
        has_times = any(not day.is_integer() for day in there)
        made["periods"] = [_YEAR, _WEEK, *([_DAY] if has_times else [])]
        made |= {"day_first": options.day_first, "first_year": options.first_year}
    return made


def _lose(row: Row, amount: float, rng: np.random.Generator) -> Row:
    """Leaves each cell out with probability `amount`, but never all that are there."""
    chances = rng.random(len(row))
    there = [at for at, cell in enumerate(row) if cell is not None]
    kept = max(there, key=chances.__getitem__)
    return tuple(c if chances[at] >= amount or at == kept else None for at, c in enumerate(row))


_MISSING_CELLS = Damage(_lose, (0.15, 0.3, 0.45, 0.6, 0.75), "share of the cells left out")


@keras.saving.register_keras_serializable("mmkd_tf")
class Cells(layers.Layer):
    """Turns rows, `[batch, 1 + 2 * columns]`, into what dense layers take, `[batch, dim]`.

    Of a number and a date it gives how far it has come through each bin, -1 to 1, which no outlier
    moves; of a date also sine and cosine of its place in a year, a week and a day; of a category
    a learnt vector; of each whether it is there. What is missing gives zeros.

    Args:
        edges: Of each column the edges of its bins, none of categories.
        periods: Of each column cycles in days.
        sizes: Of each column the number of its categories, None of other columns.
        dim: Width of a category's vector.
        rate: Share of the cells that are left out in training, 0 to 1.
        seed: Of what is left out.
    """

    def __init__(self, *, edges, periods, sizes, dim, rate, seed=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})  # half precision knows no dates
        self.edges, self.periods, self.sizes = edges, periods, sizes
        self.dim, self.rate, self.seed = dim, rate, seed
        self._draws = keras.random.SeedGenerator(seed)
        # Bins, cycles and categories in a row, each with the place of its column.
        self._bins = [
            (at, *pair) for at, each in enumerate(edges) for pair in itertools.pairwise(each)
        ]
        self._cycles = [(at, period) for at, each in enumerate(periods) for period in each]
        self._named = [at for at, size in enumerate(sizes) if size]

    def build(self, shape):
        if self._named:
            self.table = self.add_weight(
                name="table",
                shape=[1 + sum(self.sizes[at] for at in self._named), self.dim],
                initializer="glorot_uniform",
            )

    def call(self, rows, training=False):
        size = len(self.sizes)
        values, there = rows[:, 1 : 1 + size], rows[:, 1 + size :]
        if training and self.rate:
            drawn = keras.random.uniform(ops.shape(there), seed=self._draws)
            there = there * ops.cast(drawn >= self.rate, "float32")
        # A category that is not known is one that is missing.
        others = np.array([size is None for size in self.sizes], np.float32)
        there = there * ops.maximum(others, ops.minimum(values, 1))
        parts = [there]
        if self._bins:
            at, low, high = zip(*self._bins, strict=True)
            low, width = np.array(low, np.float32), np.subtract(high, low).astype(np.float32)
            come = ops.clip((ops.take(values, at, axis=1) - low) / width, 0, 1)
            parts.append((2 * come - 1) * ops.take(there, at, axis=1))
        if self._cycles:
            at, period = zip(*self._cycles, strict=True)
            days, period = ops.take(values, at, axis=1), np.array(period, np.float32)
            # The rest is exact in any arithmetic; a number of turns that is rounded is not.
            angle = (days - period * ops.floor(days / period)) * (2 * np.pi / period)
            known = ops.take(there, at, axis=1)
            parts += [ops.sin(angle) * known, ops.cos(angle) * known]
        if self._named:
            sizes = np.array([self.sizes[at] for at in self._named], np.float32)
            place = ops.clip(ops.take(values, self._named, axis=1), 0, sizes)
            offsets = np.cumsum([0, *sizes[:-1]]).astype(np.float32)
            vectors = ops.take(self.table, ops.cast(place + offsets, "int32"), axis=0)
            vectors = vectors * ops.take(there, self._named, axis=1)[:, :, None]
            parts.append(ops.reshape(vectors, [-1, len(self._named) * self.dim]))
        return ops.concatenate(parts, axis=1)

    def get_config(self):
        own = ("edges", "periods", "sizes", "dim", "rate", "seed")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
