"""The models of a run on the test split: their figures, their differences, and what chance does."""

from collections.abc import Mapping

import numpy as np

from mmkd_tf.evaluate.statistics import (
    MEASURED_RESAMPLES,
    Predictions,
    percentiles,
    wilson_interval,
)

# By what a difference tells: of which model, and less which. `naive` knows nothing of the inputs.
DIFFERENCES = {
    "over_naive": ("student", "naive"),
    "to_teacher": ("student", "teacher"),
    "teaching": ("student", "student_alone"),
    "inheritance": ("student_alone", "student_scratch"),
    "gap": ("teacher", "student_alone"),
}


def compare_models(
    predictions: Mapping[str, Predictions],
    *,
    naive: Predictions,
    naive_words: str,
    rng: np.random.Generator,
) -> dict:
    """Compares the models of one run on the test examples, with 95 % intervals over these.

    A bootstrap: the examples are drawn anew, the same for all models, so that differences are
    those of pairs; of an accuracy by itself the interval is Wilson's. It speaks of the choice of
    the examples, not of the randomness of training.

    Args:
        predictions: By role, what each model says of the test split.
        naive: What `Task.naive_outputs` says of it, which no input could change.
        naive_words: What that does, such as "always naming Objects".
        rng: Draws the examples.

    Returns:
        `num_examples`; `naive`: `words`, `score`; `intervals`: by role and of `naive`, that of
        the task's figure; `differences`: by the name in `DIFFERENCES`, where both are there,
        `difference` of the figures and its `interval`.
    """
    known = {**predictions, "naive": naive}
    scores = {name: each.score for name, each in known.items()}
    drawn = _resampled(known, rng)
    return {
        "num_examples": len(naive.labels),
        "naive": {"words": naive_words, "score": scores["naive"]},
        "intervals": {
            name: _interval(each, values)
            for (name, each), values in zip(known.items(), drawn.values(), strict=True)
        },
        "differences": {
            name: {
                "difference": scores[first] - scores[second],
                "interval": percentiles(drawn[first] - drawn[second]),
            }
            for name, (first, second) in DIFFERENCES.items()
            if first in known and second in known
        },
    }


def compare_runs(
    students: Mapping[str, Predictions], *, rng: np.random.Generator
) -> dict[str, dict]:
    """Compares the students of several runs on one test split with the first of them.

    Returns:
        By run but for the first, `difference` of the task's figures and its 95 % `interval` over
        the choice of the examples, paired.
    """
    drawn = _resampled(students, rng)
    (first, reference), *others = students.items()
    return {
        name: {
            "difference": each.score - reference.score,
            "interval": percentiles(drawn[name] - drawn[first]),
        }
        for name, each in others
    }


def _interval(predictions: Predictions, drawn: np.ndarray) -> tuple[float, float]:
    if predictions.task.has_one_class:  # of a share, which at 0 and 1 has a width too
        return wilson_interval(predictions.score, len(predictions.labels))
    return percentiles(drawn)


def _resampled(
    predictions: Mapping[str, Predictions], rng: np.random.Generator, num_resamples: int = 10_000
) -> dict[str, np.ndarray]:
    """Each model's figure on each of the draws of examples, the same for all models."""
    by_example = [each.example_scores for each in predictions.values()]
    known = [scores for scores in by_example if scores is not None]
    if len(known) < len(by_example):
        size = len(next(iter(predictions.values())).labels)
        rows = rng.integers(size, size=(MEASURED_RESAMPLES, size))
        return {
            name: np.array(
                [each.task.score(labels=each.labels[i], outputs=each.outputs[i]) for i in rows]
            )
            for name, each in predictions.items()
        }
    # Drawing examples is drawing the few patterns that occur, as often as they do.
    patterns, counts = np.unique(np.stack(known), axis=1, return_counts=True)
    drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=num_resamples)
    means = drawn @ patterns.T / counts.sum()
    return dict(zip(predictions, means.T, strict=True))
