"""What is kept of a training's epochs: the last state, to go on from, and the best weights."""

import zipfile
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.whole_file import whole_file


class Checkpoint(keras.callbacks.Callback):
    """Keeps weights, optimizer and dropout state in a folder, one file for the last epoch.

    The file's name tells the number of finished epochs and a file appears whole or not at all.
    (`keras.callbacks.BackupAndRestore` writes weights and epoch into two files in place, which
    a kill can leave half-written or at odds, and forgets the state of dropout's generators.)
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = Path(folder)

    def restore(self, model: keras.Model) -> int:
        """Loads the last state, if there is one, into a compiled model; gives its epoch."""
        states = sorted(self.folder.glob("epoch-*.npz"))
        if not states:
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            with np.load(states[-1]) as state:
                values = [state[str(index)] for index in range(len(state))]
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            raise ValueError(
                f"`{states[-1]}`: the state of an interrupted training. Received: a damaged file "
                f"({error}). Remove it: this training then begins anew."
            ) from None
        for variable, value in zip(_variables(model), values, strict=True):
            variable.assign(value)
        return int(states[-1].stem.removeprefix("epoch-"))

    def on_epoch_end(self, epoch, logs=None):
        """Writes the new state, then removes the old one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {str(i): v.numpy() for i, v in enumerate(_variables(self.model))}
        state = self.folder / f"epoch-{epoch + 1:06d}.npz"
        with whole_file(state) as unfinished:
            np.savez(unfinished, **values)
        for old in self.folder.glob("epoch-*.npz"):
            if old != state:
                old.unlink()


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss; may end a training.

    (`keras.callbacks.EarlyStopping` forgets both when a training is interrupted.)

    Args:
        folder: Where they are kept for a training that is interrupted; None for memory alone.
        patience: Number of epochs without a lower loss after which the training ends, or None.
    """

    def __init__(self, folder: Path | None, patience: int | None):
        super().__init__()
        self.file = folder and Path(folder) / "best.npz"
        self.patience, self.epoch, self.loss, self.weights = patience, 0, np.inf, None
        if self.file is not None and self.file.is_file():
            with np.load(self.file) as kept:
                self.epoch, self.loss = int(kept["epoch"]), float(kept["loss"])
                self.weights = [kept[str(index)] for index in range(len(kept) - 2)]

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
                    np.savez(unfinished, epoch=self.epoch, loss=self.loss, **values)
        if self.ended(epoch + 1):
            self.model.stop_training = True

    def restore(self, model: keras.Model) -> None:
        """Gives a model the weights of the best epoch; none is better where no loss is a number."""
        if self.weights is not None:
            for variable, value in zip(model.weights, self.weights, strict=True):
                variable.assign(value)


def _variables(model: keras.Model) -> list:
    """All that training changes; Keras leaves dropout's generators out of `weights`."""
    generators = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    return [*model.weights, *generators, *model.optimizer.variables]
