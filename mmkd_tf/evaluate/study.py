"""Statistics of a study: what distillation gains over seeds, and how far that can be chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.evaluate.metrics import classification_metrics, gap_closed, log_softmax


@dataclass(frozen=True)
class Predictions:
    """What one trained model says of a split: int labels `[n]`, float logits `[n, classes]`."""

    labels: np.ndarray
    logits: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the most probable class is the label, bool `[n]`."""
        return self.logits.argmax(axis=1) == self.labels


@dataclass(frozen=True)
class Scores:
    """How good a model is, one value for each seed.

    Attributes:
        accuracy: 0 to 1.
        cross_entropy: Mean over the examples, nats.
        macro_f1: 0 to 1.
    """

    accuracy: list[float]
    cross_entropy: list[float]
    macro_f1: list[float]

    def mean(self) -> dict[str, float]:
        """The means over the seeds, by name."""
        return {name: float(np.mean(values)) for name, values in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """The distilled student against the student alone, paired by seed.

    Attributes:
        differences: Accuracy of the distilled student less that of the student alone, by seed.
        mean_difference: Their mean.
        interval: 95 % interval of the mean over seeds; see `compare`. None for one seed.
        interval_with_examples: The same over seeds and examples; wider. None for one seed.
        gap_closed: Share of the way from the student alone to the teacher, by mean accuracies;
            None where the teacher is no better than the student alone.
        verdict: Whether distillation helped, in plain words.
    """

    differences: list[float]
    mean_difference: float
    interval: tuple[float, float] | None
    interval_with_examples: tuple[float, float] | None
    gap_closed: float | None
    verdict: str


# The fewest for which a verdict is given.
LEAST_SEEDS = 5


def scores(predictions: Sequence[Predictions]) -> Scores:
    """Measures one model that was trained with several seeds.

    Args:
        predictions: One for each seed.

    Returns:
        The values by seed.

    Raises:
        ValueError: If there are no examples, shapes do not fit or logits are not finite.
    """
    measured = [
        classification_metrics(
            labels=p.labels, logits=p.logits, class_names=list(map(str, range(p.logits.shape[1])))
        )
        for p in predictions
    ]
    return Scores(
        accuracy=[m.accuracy for m in measured],
        cross_entropy=[_cross_entropy(p) for p in predictions],
        macro_f1=[m.macro_f1 for m in measured],
    )


def compare(
    *,
    teacher: Sequence[Predictions],
    student_alone: Sequence[Predictions],
    student: Sequence[Predictions],
    rng: np.random.Generator,
    num_resamples: int = 10_000,
) -> Comparison:
    """Compares the distilled student with the student alone, seed by seed.

    The intervals are percentile bootstraps of the mean difference. `interval` resamples the
    seeds: it speaks of the randomness of training (and of the split, where the seed makes it),
    not of the choice of the examples, and with five seeds it is optimistic: it is above zero
    whenever all five differences are. `interval_with_examples` resamples the examples as well, in
    the same places for all seeds if there are equally many, because seeds may share a test split.

    Args:
        teacher: The teacher's predictions, one for each seed.
        student_alone: Those of the student trained without the teacher, in the same order.
        student: Those of the distilled student, in the same order.
        rng: Draws the resamples.
        num_resamples: Number of resamples, at least 10,000.

    Returns:
        The comparison.

    Raises:
        ValueError: If the numbers of seeds differ, there is none, the labels of a seed differ
            between the models, or there are too few resamples.
    """
    _check(teacher, student_alone, student, num_resamples)
    per_example = [
        s.correct.astype(int) - a.correct for s, a in zip(student, student_alone, strict=True)
    ]
    differences = np.array([values.mean() for values in per_example])
    drawn = rng.integers(len(differences), size=(num_resamples, len(differences)))
    resampled = _resample_examples(per_example, num_resamples, rng)
    interval = with_examples = None
    if len(differences) > 1:
        interval = _interval(differences[drawn].mean(axis=1))
        with_examples = _interval(np.take_along_axis(resampled, drawn, axis=1).mean(axis=1))
    mean = float(differences.mean())
    models = {"teacher": teacher, "student_alone": student_alone, "student": student}
    closed = gap_closed(**{name: _mean_accuracy(seeds) for name, seeds in models.items()})
    return Comparison(
        differences=differences.tolist(),
        mean_difference=mean,
        interval=interval,
        interval_with_examples=with_examples,
        gap_closed=closed,
        verdict=_verdict(mean, interval, closed, len(differences)),
    )


def rank_recipes(comparisons: Mapping[str, Mapping[str, Comparison]]) -> list[tuple[str, float]]:
    """Ranks recipes by what they gain on average over the datasets.

    Args:
        comparisons: By dataset and recipe, the comparisons on validation.

    Returns:
        Recipe and mean difference of accuracy, best first; recipes that a dataset lacks are left
        out.
    """
    by_dataset = list(comparisons.values())
    common = [r for r in (by_dataset or [{}])[0] if all(r in recipes for recipes in by_dataset)]
    means = {r: float(np.mean([c[r].mean_difference for c in by_dataset])) for r in common}
    return sorted(means.items(), key=lambda item: -item[1])


def _mean_accuracy(predictions: Sequence[Predictions]) -> float:
    # Rounded, so that equal accuracies in another order do not leave a gap of 1e-17.
    return round(float(np.mean([p.correct.mean() for p in predictions])), 12)


def _cross_entropy(predictions: Predictions) -> float:
    log_probs = log_softmax(predictions.logits)
    return float(-log_probs[np.arange(len(predictions.labels)), predictions.labels].mean())


def _check(teacher, student_alone, student, num_resamples):
    sizes = {len(teacher), len(student_alone), len(student)}
    problems = []
    if len(sizes) > 1 or 0 in sizes:
        problems.append(
            "`teacher`, `student_alone`, `student`: one entry a seed, at least one. Received: "
            f"{len(teacher)}, {len(student_alone)} and {len(student)} entries."
        )
    unequal = [
        seed
        for seed, (t, a, s) in enumerate(zip(teacher, student_alone, student, strict=False))
        if not (np.array_equal(t.labels, a.labels) and np.array_equal(a.labels, s.labels))
    ]
    if unequal:
        problems.append(
            "`teacher`, `student_alone`, `student`: predictions on the same examples. Received: "
            f"different labels in the entries {unequal}."
        )
    if num_resamples < 10_000:
        problems.append(
            f"`num_resamples`: at least 10,000. Received: num_resamples={num_resamples}."
        )
    if problems:
        raise ValueError("\n".join(problems))


def _resample_examples(per_example, num_resamples, rng) -> np.ndarray:
    """Mean differences by seed, `[num_resamples, seeds]`, each of a new draw of the examples."""
    shared = len({len(values) for values in per_example}) == 1
    blocks = [np.stack(per_example)] if shared else [values[None] for values in per_example]
    columns = []
    for block in blocks:
        # Drawing examples is drawing the few patterns that occur, as often as they do.
        patterns, counts = np.unique(block, axis=1, return_counts=True)
        num_examples = block.shape[1]
        drawn = rng.multinomial(num_examples, counts / num_examples, size=num_resamples)
        columns.append(drawn @ patterns.T / num_examples)
    return np.concatenate(columns, axis=1)


def _interval(means: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(means, [2.5, 97.5]).round(12)
    return float(low), float(high)


def _verdict(mean, interval, closed, num_seeds) -> str:
    points = f"{100 * mean:+.1f} points of accuracy"
    if interval is None:
        return f"Can't be told from one seed: {points}."
    low, high = interval
    points += f" (95 % over {num_seeds} seeds: {100 * low:+.1f} to {100 * high:+.1f})"
    # With fewer seeds such an interval leaves out zero far too often where there is no effect.
    if num_seeds < LEAST_SEEDS:
        return f"Can't be told from {num_seeds} seeds: {points}. Use at least {LEAST_SEEDS}."
    if low > 0:
        share = (
            "the teacher was no better than the student alone: there was no gap to close"
            if closed is None
            else f"{closed:.0%} of the gap to the teacher was closed"
        )
        return f"Distillation helped: {points}; {share}."
    if high < 0:
        return f"Distillation did not help: {points}."
    return f"Can't be told from {num_seeds} seeds: {points}."
