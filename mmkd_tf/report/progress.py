"""Progress: tells a person at the terminal what a run is doing."""

import time
from collections.abc import Callable
from contextlib import contextmanager

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Reporter:
    """Writes a line for each stage and a bar while it trains, on standard error by default."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """Writes a line or several."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, note_seconds: Callable[[float], None]):
        """Announces a stage and notes how long it took, also when it fails."""
        self.say(f"{title} ...")
        start = time.monotonic()
        try:
            yield
        finally:
            note_seconds(time.monotonic() - start)

    def epochs(self, total: int) -> keras.callbacks.Callback:
        """Makes a Keras callback that shows the epochs of one training."""
        return _EpochBar(self.console, total)


class _EpochBar(keras.callbacks.Callback):
    """A bar with the last figure on validation; plain lines where there is no terminal."""

    def __init__(self, console: Console, total: int):
        super().__init__()
        self.console, self.total = console, total
        self.bar = Progress(
            TextColumn("  epoch {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def on_train_begin(self, logs=None):
        self.task = self.bar.add_task("", total=self.total)
        if self.console.is_terminal:
            self.bar.start()

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1
        measured = (key for key in logs if key.startswith("val_") and key != "val_loss")
        key = next(measured, "val_loss")  # the first metric, if there is one
        name = key.removeprefix("val_").replace("_", " ")
        text = f"loss {logs['loss']:.3f}, validation {name} {logs[key]:.3f}"
        self.bar.update(self.task, completed=done, description=text)
        every = max(1, self.total // 4)
        if done == self.total or (not self.console.is_terminal and done % every == 0):
            self.console.print(f"  epoch {done}/{self.total}: {text}", markup=False)

    def on_train_end(self, logs=None):
        if self.console.is_terminal:
            self.bar.stop()
