"""Checkpoint: the state of a training after each epoch, so that an interrupt costs one epoch."""

import os
import zipfile
from pathlib import Path

import keras
import numpy as np


class Checkpoint(keras.callbacks.Callback):
    """Keeps weights, optimizer and dropout state in a folder, one file for the last epoch.

    The file's name tells the number of finished epochs and a file appears whole or not at all.
    (`keras.callbacks.BackupAndRestore` writes weights and epoch into two files in place, which
    a kill can leave half-written or at odds, and forgets the state of dropout's generators.)

    Args:
        folder: Where the file is kept; made if needed.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = Path(folder)

    def restore(self, model: keras.Model) -> int:
        """Loads the last state, if there is one, into a compiled model.

        Args:
            model: The model that will be fitted.

        Returns:
            Number of finished epochs.
        """
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
        unfinished = self.folder / "unfinished.npz"
        values = {str(i): v.numpy() for i, v in enumerate(_variables(self.model))}
        np.savez(unfinished, **values)
        state = self.folder / f"epoch-{epoch + 1:06d}.npz"
        os.replace(unfinished, state)
        for old in self.folder.glob("epoch-*.npz"):
            if old != state:
                old.unlink()


def _variables(model: keras.Model) -> list:
    """All that training changes; Keras leaves dropout's generators out of `weights`."""
    generators = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    return [*model.weights, *generators, *model.optimizer.variables]
