"""Progress: tells a person at the terminal what a run is doing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mmkd_tf.progress import Advance, shown_by
from mmkd_tf.terminal import plain

# Where there is no terminal, seconds between two lines about one step.
BETWEEN_LINES = 15.0


def progress_console(*, quiet: bool = False) -> Console:
    """Makes a console on standard error, with bars where that is a terminal.

    Notebooks ask for colours in the environment (FORCE_COLOR), which rich takes for a terminal: a
    page would then hold a line for each move of a bar.
    """
    at_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Console(stderr=True, highlight=False, quiet=quiet, force_terminal=at_terminal)


class Reporter:
    """Writes a line for each stage and bars for what takes long, on standard error by default.

    Where there is no terminal, lines take the place of bars, now and then.

    Args:
        console: Where to write to; one with `quiet=True` writes nothing.
        now: Gives a time in seconds.
    """

    def __init__(self, console: Console | None = None, now: Callable[[], float] = time.monotonic):
        self.console = console or progress_console()
        self.now = now
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            transient=True,
        )

    def say(self, text: str) -> None:
        """Writes a line or several."""
        self.console.print(plain(text), markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, note_seconds: Callable[[float], None]):
        """Announces a stage, shows its long steps, and notes how long it took, also if it fails."""
        self.say(f"{title} ...")
        start = self.now()
        try:
            with shown_by(self.steps):
                yield
        finally:
            for task in list(self._bars.task_ids):  # of a training that failed
                self.end(task)
            note_seconds(self.now() - start)

    @contextmanager
    def steps(self, title: str, total: int) -> Iterator[Advance]:
        """Shows a long step; see `mmkd_tf.progress.steps`."""
        done, start = 0, self.now()
        last = start

        def advance(number: int) -> None:
            nonlocal done, last
            done += number
            if self.console.is_terminal:
                self.show(task, done, f"{done:,}/{total:,}")
            elif done < total and self.now() - last >= BETWEEN_LINES:
                last = self.now()
                left = in_words((last - start) / done * (total - done))
                self.say(f"  {title}: {done:,} of {total:,}, about {left} left")

        task = self.begin(title, total)
        try:
            yield advance
        finally:
            self.end(task)

    def begin(self, title: str, total: int) -> TaskID:
        """Shows a bar."""
        task = self._bars.add_task(plain(title), total=total, count="", figures="")
        if self.console.is_terminal:
            self._bars.start()
        return task

    def show(self, task: TaskID, completed: float, count: str, figures: str = "") -> None:
        """Moves a bar."""
        self._bars.update(task, completed=completed, count=count, figures=figures)

    def end(self, task: TaskID) -> None:
        """Takes a bar away."""
        if task in self._bars.task_ids:
            self._bars.remove_task(task)
        if self.console.is_terminal and not self._bars.task_ids:
            self._bars.stop()

    def epochs(self, total: int | None = None):
        """Makes a Keras callback that shows the epochs of trainings.

        Keras says how many where `total` does not.
        """
        from mmkd_tf.report.epochs import Epochs  # not at the top: files are run without Keras

        return Epochs(self, total)


def in_words(seconds: float) -> str:
    """A time for people, `40 s` or `3 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
