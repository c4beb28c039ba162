"""Builds archives of a watch's motion sensors, and which exercise is done.

    python studies/scenarios/watch.py studies/scenarios/sets

Ten people did seven exercises of the shoulder, twenty times on each side, with a watch on the
wrist: 140 recordings at 50 samples a second. A row is a window of 128 steps, 2.56 seconds, 96 steps
after the one before: `acc` (three axes of acceleration, in units of gravity) and `gyro` (three of
turning, radians a second), both float32 `[128, 3]`, and `label`, the exercise's name. People are
disjoint: 3, 4, 6, 7, 8 train, 2 and 10 validate, 1, 5, 9 test; `subject` has them. There are 1,083,
550 and 795 windows.

PyPI's seglearn 1.2.5 (D.M. Burns, BSD licence), which has the data of Burns et al.: Shoulder
physiotherapy exercise recognition, 2018, in a pickled file; its wheel's checksum is looked at
before it is read.
"""

import io
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from common import Package, fetch, members, say_counts

SEGLEARN = Package(
    "pip",
    "seglearn==1.2.5",
    "seglearn-1.2.5-py3-none-any.whl",
    "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
)
SUBJECTS = {"train": (3, 4, 6, 7, 8), "validation": (2, 10), "test": (1, 5, 9)}
LENGTH, STEP = 128, 96


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the archives of windows of a watch's sensors."""
    content = members(fetch(SEGLEARN, archives or output / "archives"))
    file = io.BytesIO(content["seglearn/data/watch_dataset.npy"])
    data = np.load(file, allow_pickle=True).item()
    folder = output / "watch"
    folder.mkdir(parents=True, exist_ok=True)
    for name, subjects in SUBJECTS.items():
        windows, labels, people = [], [], []
        for series, exercise, subject in zip(data["X"], data["y"], data["subject"], strict=True):
            if subject not in subjects:
                continue
            for start in range(0, len(series) - LENGTH + 1, STEP):
                windows.append(series[start : start + LENGTH])
                labels.append(data["y_labels"][exercise])
                people.append(subject)
        steps = np.array(windows, np.float32)
        np.savez_compressed(
            folder / f"{name}.npz",
            acc=steps[..., :3],
            gyro=steps[..., 3:],
            label=np.array(labels),
            subject=np.array(people),
        )
        say_counts(f"watch/{name}.npz", labels)


if __name__ == "__main__":
    typer.run(main)
