"""The gallery of a run: test examples that tell most, with what each model says of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmkd_tf.data.dataset import Dataset
from mmkd_tf.modalities.modality import is_absent, student_inputs
from mmkd_tf.report.sentences import MODELS

MOST = 12  # of each group


def gallery(dataset: Dataset, outputs: Mapping[str, np.ndarray]) -> list[dict]:
    """Chooses test examples and keeps of them what a page shows.

    Args:
        dataset: The data, with inputs as the students read them.
        outputs: By role, what each model gives for the test split, `[n, num_outputs]`.

    Returns:
        Groups, each with its `name`, the `total` of such examples, and some of these, the most
        telling first: `row` in the test split, `number` as its table counts, where that is known,
        `inputs` by name in the forms of `Modality.shown`
        (`{"form": "absent"}` of those that are not there), `label`, and by role `answers`: `words`,
        `sure` (0 to 1, or None), and `right`, None where an answer is not right or wrong.
    """
    task, labels = dataset.task, dataset.splits["test"].labels
    numbers = dataset.splits["test"].numbers
    about: dict[str, Any] = {"labels": labels, "names": dataset.class_names}
    inputs = list(student_inputs(dataset.modalities))
    models = [name for name in MODELS if name in outputs]
    answers = {name: task.answers(outputs=outputs[name], inputs=inputs, **about) for name in models}
    student = answers["student"]
    values = {
        "mistakes": student.mistakes,
        "disagreements": task.disagreement(
            labels=labels, outputs=outputs["teacher"], others=outputs["student"]
        ),
    }
    if student.sure is not None:
        values["unsure"] = 1 - student.sure
    label_words = task.label_words(labels, dataset.class_names)

    def example(row: int) -> dict:
        return {
            "row": row,
            **({} if numbers is None else {"number": int(numbers[row])}),
            "inputs": _shown(dataset, row),
            "label": label_words[row],
            "answers": {
                name: {
                    "words": of.words[row],
                    "sure": None if of.sure is None else round(float(of.sure[row]), 4),
                    "right": not of.mistakes[row] if task.gives_probabilities else None,
                }
                for name, of in answers.items()
            },
        }

    groups = []
    for name, telling in values.items():
        order = np.argsort(-telling, kind="stable")
        chosen = [int(row) for row in order[:MOST] if telling[row] > 0]
        total = int((telling > 0).sum())
        groups.append({"name": name, "total": total, "examples": [*map(example, chosen)]})
    return groups


def _shown(dataset: Dataset, row: int) -> dict[str, dict]:
    test, shown = dataset.splits["test"], {}
    for name, modality in student_inputs(dataset.modalities).items():
        tensor = test.inputs[name][row]
        value = test.raw[name][row] if name in test.raw else tensor
        absent = is_absent(tensor[np.newaxis])[0]
        shown[name] = {"form": "absent"} if absent else modality.shown(value)
    return shown
