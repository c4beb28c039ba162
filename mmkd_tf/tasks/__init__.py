"""Tasks: what a model answers, one final class a file; the contract is in `task.py`."""

from collections.abc import Sequence

import keras

from mmkd_tf.modalities.cells import quote
from mmkd_tf.tasks.embedding import Embedding
from mmkd_tf.tasks.labels import DEFAULT_SEPARATOR, holds_several
from mmkd_tf.tasks.multi_label import MultiLabel
from mmkd_tf.tasks.regression import Regression
from mmkd_tf.tasks.retrieval import Retrieval
from mmkd_tf.tasks.single_label import SingleLabel
from mmkd_tf.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (SingleLabel(), MultiLabel(), Regression(), Retrieval(), Embedding())
}
DEFAULT_TASK = SingleLabel.name  # where nobody says one


def register_task(task: Task) -> Task:
    """Makes a task known by its name, in place of one of the same name; gives it back.

    Raises:
        TypeError: If it is no object of a class that has all of `Task`.
    """
    if not isinstance(task, Task):
        raise TypeError(f"`task`: an object of a subclass of Task. Received: task={task!r}.")
    TASKS[task.name] = task
    return task


def find_task(name_or_task: str | Task) -> Task:
    """Gives a task by its name; a ValueError names those that are known."""
    if isinstance(name_or_task, Task):
        return name_or_task
    if name_or_task not in TASKS:
        raise ValueError(f"`task`: one of {', '.join(TASKS)}. Received: task={name_or_task!r}.")
    return TASKS[name_or_task]


def task_of_loss(loss: keras.losses.Loss) -> Task:
    """The first task that a Keras loss fits; one class of several where none is known to."""
    fitting = (task for task in TASKS.values() if task.fits(loss))
    return next(fitting, TASKS[DEFAULT_TASK])


def choose_task(
    cells: Sequence, *, name: str | Task = "auto", separator: str = DEFAULT_SEPARATOR
) -> tuple[Task, list[str]]:
    """Gives the task of a name, or sees it from the label cells.

    A column is of several labels if one cell is a list, or holds two different labels with the
    separator between them. Numbers are never taken for targets unasked: 1 to 5 stars can be
    classes as well.

    Args:
        cells: The label cells of the training rows.
        name: A task, its name, or "auto".
        separator: What stands between the labels of a cell.

    Returns:
        The task, and notes for people on how it was found.

    Raises:
        ValueError: If a separator is given that no cell holds, or there is no such task.
    """
    if name != "auto":
        return find_task(name), []
    several = next((cell for cell in cells if holds_several(cell, separator)), None)
    if several is not None:
        return TASKS["multi_label"], [
            f"a label cell holds several, such as {quote(several)}, so an example may have any "
            "number of labels (task multi_label); with task=single_label each cell is one class."
        ]
    if separator != DEFAULT_SEPARATOR:
        raise ValueError(
            "`label_separator`: what stands between the labels of a cell. Received: "
            f"label_separator={separator!r}, which no label cell has. Leave it out if each row "
            "has one label."
        )
    return TASKS[DEFAULT_TASK], []
