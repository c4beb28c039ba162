"""Shows the epochs of a training: a bar, or plain lines where there is no terminal."""

import keras

from mmkd_tf.report.progress import Reporter, in_words


class Epochs(keras.callbacks.Callback):
    """A bar with the last figure on validation; plain lines where there is no terminal."""

    def __init__(self, reporter: Reporter, total: int | None):
        super().__init__()
        self.reporter, self.given = reporter, total

    def on_train_begin(self, logs=None):
        self.total = self.given or self.params["epochs"]
        self.figures, self.said, self.first = "", None, None
        self.task = self.reporter.begin("epoch", self.total)
        self.start = self.reporter.now()

    def on_epoch_begin(self, epoch, logs=None):
        self.first = epoch if self.first is None else self.first
        self.epoch = epoch
        self._show(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if steps := self.params.get("steps"):
            self._show(self.epoch + (batch + 1) / steps)

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1
        measured = (key for key in logs if key.startswith("val_") and key != "val_loss")
        key = next(measured, "val_loss")  # the first metric, if there is one
        name = key.removeprefix("val_").replace("_", " ")
        self.figures = f"loss {logs['loss']:.3f}, validation {name} {logs[key]:.3f}"
        self._show(done)
        left, every = "", max(1, self.total // 4)
        if done < self.total:
            if self.reporter.console.is_terminal or done % every:
                return
            seconds = (self.reporter.now() - self.start) / (done - self.first)
            left = f", about {in_words(seconds * (self.total - done))} left"
        self._say(done, left)

    def on_train_end(self, logs=None):
        self.reporter.end(self.task)
        if self.first is not None and self.said != self.epoch + 1:  # it stopped early
            self._say(self.epoch + 1, "")

    def _say(self, done: int, left: str) -> None:
        self.said = done
        self.reporter.say(f"  epoch {done}/{self.total}: {self.figures}{left}")

    def _show(self, done: float) -> None:
        count = f"{min(int(done) + 1, self.total)}/{self.total}"
        self.reporter.show(self.task, done, count, self.figures)
