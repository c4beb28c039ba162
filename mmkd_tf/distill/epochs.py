"""What is kept of a training's epochs: the last state, to go on from, and the best weights.

And what ends a training that has come to nothing.
"""

import math
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.files.whole import whole_file

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, LookupError, ValueError, TypeError)
# An epoch has a loss so many times that of the first steps only where weights run off.
_FAR_ABOVE = 100


class DivergedError(ValueError):
    """A training whose loss or weights are no numbers any more, or far from where they began."""


@dataclass(frozen=True)
class Backup:
    """Where a training keeps its state.

    Attributes:
        folder: The folder.
        key: What tells the training from all others; empty where nobody asks.
    """

    folder: Path
    key: str = ""


class Checkpoint(keras.callbacks.Callback):
    """Keeps weights, optimizer and dropout state in a folder, one file for the last epoch.

    The file's name tells the number of finished epochs and a file appears whole or not at all.
    (`keras.callbacks.BackupAndRestore` writes weights and epoch into two files in place, which
    a kill can leave half-written or at odds, and forgets the state of dropout's generators.)
    """

    def __init__(self, backup: Backup):
        super().__init__()
        self.folder, self.key = Path(backup.folder), backup.key

    def restore(self, model: keras.Model) -> int:
        """Loads the last state, if there is one, into a compiled model; gives its epoch."""
        states = sorted(self.folder.glob("epoch-*.npz"))
        if not states:
            return 0
        model.optimizer.build(model.trainable_variables)
        file, variables = states[-1], _variables(model)
        number = file.stem.removeprefix("epoch-")
        about, values = _read(file, variables)
        epoch, key = about.get("epoch", number), about.get("key") or self.key
        if not number.isdecimal() or int(epoch) != int(number) or key != self.key:
            raise ValueError(
                f"`{file}`: the state after epoch {number} of {self.key or 'this training'}. "
                f"Received: that after epoch {epoch} of {key or 'a training'}, renamed or of "
                "another run. Put the run's own back, or remove it: this training then begins anew."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return int(number)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the new state, then removes the old one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {str(i): v.numpy() for i, v in enumerate(_variables(self.model))}
        state = self.folder / f"epoch-{epoch + 1:06d}.npz"
        with whole_file(state) as unfinished:
            np.savez(unfinished, epoch=epoch + 1, key=self.key, **values)
        for old in self.folder.glob("epoch-*.npz"):
            if old != state:
                old.unlink()


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss; may end a training.

    (`keras.callbacks.EarlyStopping` forgets both when a training is interrupted.)

    Args:
        backup: Where they are kept for a training that is interrupted; None for memory alone.
        patience: Number of epochs without a lower loss after which the training ends, or None.
    """

    def __init__(self, backup: Backup | None, patience: int | None):
        super().__init__()
        self.file = Path(backup.folder) / "best.npz" if backup else None
        self.key = backup.key if backup else ""
        self.patience, self.epoch, self.loss = patience, 0, np.inf
        self.weights: list | None = None

    def read(self, model: keras.Model) -> None:
        """Takes over what an interrupted training of the model has kept."""
        if self.file is None or not self.file.is_file():
            return
        about, weights = _read(self.file, model.weights)
        if about.get("key", self.key) != self.key or not {"epoch", "loss"} <= set(about):
            raise ValueError(
                f"`{self.file}`: the best weights of this training. Received: those of "
                f"{about.get('key') or 'another'}. Remove the folder {self.file.parent}: this "
                "training then begins anew."
            )
        self.epoch, self.loss, self.weights = int(about["epoch"]), float(about["loss"]), weights

    def ended(self, epochs: int) -> bool:
        """Whether a training of so many epochs has gone on for long enough."""
        return self.patience is not None and epochs - self.epoch >= self.patience

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the weights if they are better."""
        if logs["val_loss"] < self.loss:
            self.epoch, self.loss = epoch + 1, float(logs["val_loss"])
            self.weights = [variable.numpy() for variable in self.model.weights]
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                values = {str(index): value for index, value in enumerate(self.weights)}
                with whole_file(self.file) as unfinished:
                    np.savez(unfinished, epoch=self.epoch, loss=self.loss, key=self.key, **values)
        if self.ended(epoch + 1):
            self.model.stop_training = True

    def restore(self, model: keras.Model) -> None:
        """Gives a model the weights of the best epoch; none is better where no loss is a number."""
        if self.weights is not None:
            for variable, value in zip(model.weights, self.weights, strict=True):
                variable.assign(value)


class StopDiverging(keras.callbacks.Callback):
    """Ends a training by a `DivergedError` as soon as a loss is no number.

    Args:
        far_above: Whether an epoch's loss a hundred times that of the first steps ends it too. Not
            where weights of the loss's parts rise from 0 by a schedule.
    """

    def __init__(self, *, far_above: bool = False):
        super().__init__()
        self.far_above, self.epoch, self.first = far_above, 0, math.inf

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._check(logs, "loss", most=math.inf)

    def on_epoch_end(self, epoch, logs=None):
        """Looks at validation too, which sees what the last step has made of the weights."""
        most = _FAR_ABOVE * max(1.0, self.first) if self.far_above else math.inf
        self._check(logs, "loss", "val_loss", most=most)

    def _check(self, logs, *names: str, most: float) -> None:
        for name in set(names) & set(logs or {}):
            loss = float(logs[name])
            if name == "loss" and math.isinf(self.first):
                self.first = loss
            rose = name == "loss" and loss > most
            if math.isfinite(loss) and not rose:
                continue
            parts = [n for n in logs if n.endswith("_loss") and not math.isfinite(float(logs[n]))]
            where = f" ({', '.join(parts)})" if parts and name == "loss" else ""
            of = "validation loss" if name == "val_loss" else "loss"
            raise DivergedError(
                f"the training diverged: in epoch {self.epoch + 1} the {of} was {loss:g}{where}"
                + (f", after {self.first:g} at the start" if rose and math.isfinite(loss) else "")
                + ". Lower the learning rate or the weights of the loss's parts, and look for huge "
                "values in the data; then train from the start."
            )


def check_finite(values: Iterable, what: str) -> None:
    """Raises a `DivergedError` where arrays that `what` names hold NaN or infinity."""
    if not all(np.isfinite(np.asarray(value)).all() for value in values):
        raise DivergedError(
            f"the training diverged: {what} hold NaN or infinity. Lower the learning rate or the "
            "weights of the loss's parts, and look for huge values in the data; then train from "
            "the start."
        )


def _read(file: Path, variables: Sequence) -> tuple[dict, list[np.ndarray]]:
    """What a file says beside its arrays, and these, one for each of the variables."""
    try:
        with np.load(file) as kept:
            about = {name: kept[name].item() for name in ("epoch", "key", "loss") if name in kept}
            values = [kept[str(index)] for index in range(len(kept) - len(about))]
        if "epoch" in about:
            int(about["epoch"])
        shapes = [tuple(value.shape) for value in values], [tuple(v.shape) for v in variables]
        reason = None if shapes[0] == shapes[1] else "it is of another model"
    except _DAMAGED as error:
        reason = f"a damaged file: {error}"
    if reason is None and not all(np.isfinite(v).all() for v in values if v.dtype.kind == "f"):
        reason = "NaN or infinity: the training had diverged"
    if reason is not None:
        raise ValueError(
            f"`{file}`: the state of an interrupted training of this model. Received: {reason}. "
            "Remove it: this training then begins anew."
        )
    return about, values


def _variables(model: keras.Model) -> list:
    """All that training changes; Keras leaves dropout's generators out of `weights`."""
    generators = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    return [*model.weights, *generators, *model.optimizer.variables]
