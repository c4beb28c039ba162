"""The history of trainings: each epoch's figures, kept as a table that any program reads."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

import keras

from mmkd_tf.files.whole import whole_file

HISTORY_FILE = "history.csv"


class History:
    """The figures of each epoch of the trainings of a run, in `history.csv` of its folder.

    A line for each epoch of each model: `model`, `epoch` from 1 on, and a column for each figure
    that Keras names, empty where a model has none. The file is written whole after each epoch, so
    what is there survives a kill, and an epoch that a resumed training repeats takes the place of
    the first try.
    """

    def __init__(self, folder: Path):
        self.file = Path(folder) / HISTORY_FILE

    def callback(self, model: str) -> keras.callbacks.Callback:
        """Makes the Keras callback that keeps the epochs of one model."""
        return _Keep(self, model)

    def read(self) -> dict[str, dict[str, list]]:
        """By model, `epoch` and each figure as lists of the same length, None where one lacks."""
        models: dict[str, dict[str, list]] = {}
        for (model, epoch), figures in sorted(self._rows().items(), key=lambda item: item[0][1]):
            of_model = models.setdefault(model, {"epoch": []})
            for name in figures:
                of_model.setdefault(name, [None] * len(of_model["epoch"]))
            of_model["epoch"].append(epoch)
            for name, values in of_model.items():
                if name != "epoch":
                    values.append(figures.get(name))
        return models

    def add(self, model: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Keeps the figures of an epoch, in place of those that were kept of it."""
        self._write({**self._rows(), (model, epoch): dict(figures)})

    def _rows(self) -> dict[tuple[str, int], dict[str, float]]:
        if not self.file.is_file():
            return {}
        try:
            with self.file.open(encoding="utf-8", newline="") as file:
                return {
                    (row.pop("model"), int(row.pop("epoch"))): {
                        name: float(value)
                        for name, value in row.items()
                        if value and math.isfinite(float(value))
                    }
                    for row in csv.DictReader(file)
                }
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ValueError(
                f"`{self.file}`: the figures of each epoch. Received: a damaged table ({error}). "
                "Put it back, or remove it: the report then lacks the epochs so far."
            ) from None

    def _write(self, rows: Mapping[tuple[str, int], Mapping[str, float]]) -> None:
        names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["model", "epoch", *names])
        for (model, epoch), figures in rows.items():
            writer.writerow([model, epoch, *(figures.get(name, "") for name in names)])
        with whole_file(self.file) as unfinished:
            unfinished.write_text(text.getvalue(), encoding="utf-8")


class _Keep(keras.callbacks.Callback):
    """Adds each epoch to a history."""

    repeats = True  # of an epoch that a resumed training repeats it keeps the last

    def __init__(self, history: History, name: str):
        super().__init__()
        self.history, self.name = history, name

    def on_epoch_end(self, epoch, logs=None):
        figures = {key: float(value) for key, value in (logs or {}).items()}
        self.history.add(self.name, epoch + 1, figures)
