"""What a person sees of a long step: bars at a terminal, lines now and then elsewhere."""

import io

import pytest
from rich.console import Console

from mmkd_tf.progress import each, steps
from mmkd_tf.report.epochs import Epochs
from mmkd_tf.report.progress import Reporter


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def reporter(**console):
    clock, file = Clock(), io.StringIO()
    return Reporter(Console(file=file, width=100, **console), clock), clock, file


def test_lines_come_now_and_then_where_there_is_no_terminal():
    report, clock, file = reporter()
    seconds = []
    with report.stage("Reading", seconds.append):
        for _ in each(range(10), "pictures", total=10):
            clock.time += 6
    assert file.getvalue().splitlines() == [
        "Reading ...",
        "  pictures: 3 of 10, about 42 s left",
        "  pictures: 6 of 10, about 24 s left",
        "  pictures: 9 of 10, about 6 s left",
    ]
    assert seconds == [60]


def test_a_terminal_has_bars_that_are_gone_in_the_end():
    report, _, file = reporter(force_terminal=True)
    with report.stage("Reading", lambda seconds: None), steps("pictures", total=4) as advance:
        advance(2)
        with steps("words", total=3):
            report._bars.refresh()
    shown = file.getvalue()
    assert "pictures" in shown and "2/4" in shown and "words" in shown
    assert not report._bars.task_ids and not report._bars.live.is_started


def test_nobody_need_listen():
    with steps("pictures", total=4) as advance:
        advance(1)
    assert list(each("ab", "letters", 2)) == ["a", "b"]


def test_quiet_says_nothing():
    report, clock, file = reporter(quiet=True)
    with report.stage("Reading", lambda seconds: None):
        for _ in each(range(3), "pictures", total=3):
            clock.time += 60
    assert file.getvalue() == ""


def follow(callback, clock, epochs, steps_an_epoch=2):
    callback.set_params({"epochs": epochs, "steps": steps_an_epoch})
    callback.on_train_begin()
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(steps_an_epoch):
            callback.on_train_batch_end(batch)
        clock.time += 10
        callback.on_epoch_end(
            epoch, {"loss": 2.0 - epoch / 10, "val_loss": 1.0, "val_accuracy": epoch / 10}
        )
        if epoch == 5:
            break
    callback.on_train_end()


@pytest.mark.parametrize("given", [8, None])
def test_epochs_have_loss_validation_and_time_left(given):
    report, clock, file = reporter()
    follow(Epochs(report, given), clock, epochs=8)
    assert file.getvalue().splitlines() == [
        "  epoch 2/8: loss 1.900, validation accuracy 0.100, about 60 s left",
        "  epoch 4/8: loss 1.700, validation accuracy 0.300, about 40 s left",
        "  epoch 6/8: loss 1.500, validation accuracy 0.500, about 20 s left",
    ]


def test_a_training_that_failed_leaves_no_bar():
    report, _, _ = reporter(force_terminal=True)
    with pytest.raises(ZeroDivisionError), report.stage("Training", lambda seconds: None):
        callback = Epochs(report, None)
        callback.set_params({"epochs": 3})
        callback.on_train_begin()
        raise ZeroDivisionError
    assert not report._bars.task_ids
