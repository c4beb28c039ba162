"""Statistics: what distillation gains over seeds, and how far that can be chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.tasks.task import Task

# Of figures that are no means over examples; each takes a moment.
MEASURED_RESAMPLES = 400


@dataclass(frozen=True)
class Predictions:
    """What one trained model says of a split.

    Labels are as the task has them, `[n, ...]`, outputs before any activation, float
    `[n, num_outputs]`.
    """

    task: Task
    labels: np.ndarray
    outputs: np.ndarray

    @property
    def score(self) -> float:
        """The headline figure."""
        return self.task.score(labels=self.labels, outputs=self.outputs)

    @property
    def example_scores(self) -> np.ndarray | None:
        """Score of each example, float64 `[n]`; None where the headline is no mean of such."""
        return self.task.example_scores(labels=self.labels, outputs=self.outputs)


@dataclass(frozen=True)
class Comparison:
    """The distilled student against the student alone, paired by seed.

    Attributes:
        differences: Headline figure of the distilled student, such as its accuracy, less that of
            the student alone, by seed.
        mean_difference: Their mean.
        interval: 95 % interval of the mean over seeds; see `compare`. None for one seed.
        interval_with_examples: The same over seeds and examples; wider. None for one seed, and
            where the headline figure is no mean over examples.
        gap_closed: Share of the way from the student alone to the teacher, by mean figures;
            None where the teacher is no better than the student alone beyond chance.
    """

    differences: list[float]
    mean_difference: float
    interval: tuple[float, float] | None
    interval_with_examples: tuple[float, float] | None
    gap_closed: float | None


def scores(predictions: Sequence[Predictions]) -> dict[str, list[float]]:
    """One model's values by seed of each of the task's `study_scores`; one seed or more."""
    found = [p.task.study_scores(labels=p.labels, outputs=p.outputs) for p in predictions]
    return {key: [figures[key] for figures in found] for key in found[0]}


def gap_closed(*, teacher: float, student_alone: float, student: float) -> float | None:
    """Share of the way from the student alone to the teacher that distillation went.

    1 at the teacher's headline figure, 0 where nothing was gained, below 0 where it hurt; None
    where the teacher is no better than the student alone: there is no gap.
    """
    gap = teacher - student_alone
    return (student - student_alone) / gap if gap > 0 else None


@dataclass(frozen=True)
class TeacherGap:
    """Whether a teacher is better than the student alone on the same examples.

    Attributes:
        num_examples: How many there are.
        teacher: The teacher's headline figure.
        student_alone: That of the student alone.
        gap: The first less the second.
        interval: 95 % interval of the gap over examples: a bootstrap of these in pairs.
        only_teacher_right: Number of examples that the teacher alone gets right; None where
            examples are not right or wrong.
        only_student_right: Number of those that the student alone gets right.
        can_help: Whether the teacher is better beyond chance: the interval is above 0.
    """

    num_examples: int
    teacher: float
    student_alone: float
    gap: float
    interval: tuple[float, float]
    only_teacher_right: int | None
    only_student_right: int | None
    can_help: bool


def teacher_gap(
    *,
    teacher: Predictions,
    student_alone: Predictions,
    rng: np.random.Generator,
    num_resamples: int = 10_000,
) -> TeacherGap:
    """Compares a teacher with the student alone, example by example.

    The interval speaks of the choice of the examples, not of the randomness of training. Where
    the headline figure is no mean over examples, each resample is measured anew, so there are
    only `MEASURED_RESAMPLES`.

    Args:
        teacher: What the teacher says of a split that neither learned from.
        student_alone: What the student says of the same examples.
        rng: Draws the examples.
        num_resamples: How often.

    References:
        McNemar: Note on the Sampling Error of the Difference Between Correlated Proportions or
        Percentages, 1947 (the examples that one alone gets right).
    """
    _check([teacher], [student_alone], [student_alone], num_resamples)
    score, labels = teacher.task.score, teacher.labels
    scores, others = teacher.example_scores, student_alone.example_scores
    only: tuple[int | None, int | None] = (None, None)
    if scores is None or others is None:
        drawn = rng.integers(len(labels), size=(MEASURED_RESAMPLES, len(labels)))
        gaps = np.array([_gap(teacher, student_alone, rows) for rows in drawn])
    else:
        gaps = _resample_examples([scores - others], num_resamples, rng)[:, 0]
        if teacher.task.has_one_class:
            only = int(np.sum(scores > others)), int(np.sum(others > scores))
    ours, theirs = (score(labels=labels, outputs=p.outputs) for p in (teacher, student_alone))
    interval = percentiles(gaps)
    return TeacherGap(
        len(labels), ours, theirs, ours - theirs, interval, only[0], only[1], interval[0] > 0
    )


def _gap(teacher: Predictions, student_alone: Predictions, rows: np.ndarray) -> float:
    first, second = (
        p.task.score(labels=p.labels[rows], outputs=p.outputs[rows])
        for p in (teacher, student_alone)
    )
    return first - second


def wilson_interval(share: float, num_examples: int) -> tuple[float, float]:
    """The 95 % interval of a share, 0 to 1, that was counted on `num_examples`, one or more.

    Unlike the share plus and minus its standard error it has a width at 0 and at 1 too.

    Examples:
        >>> [round(end, 3) for end in wilson_interval(1.0, 100)]
        [0.963, 1.0]

    References:
        Wilson: Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    z = 1.96
    centre = share + z**2 / (2 * num_examples)
    spread = (share * (1 - share) / num_examples + (z / (2 * num_examples)) ** 2) ** 0.5
    scale = 1 + z**2 / num_examples
    return max(0.0, (centre - z * spread) / scale), min(1.0, (centre + z * spread) / scale)


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

    Predictions come one for each seed, in the same order; `rng` draws `num_resamples`, at least
    10,000.
    """
    _check(teacher, student_alone, student, num_resamples)
    pairs = list(zip(student, student_alone, strict=True))
    scores = [(s.example_scores, a.example_scores) for s, a in pairs]
    per_example = [s - a for s, a in scores if s is not None and a is not None]
    by_example = bool(per_example)
    if by_example:
        differences = np.array([values.mean() for values in per_example])
    else:
        differences = np.array([s.score - a.score for s, a in pairs])
    interval = with_examples = None
    if len(differences) > 1:
        drawn = rng.integers(len(differences), size=(num_resamples, len(differences)))
        interval = percentiles(differences[drawn].mean(axis=1))
        if by_example:
            resampled = _resample_examples(per_example, num_resamples, rng)
            with_examples = percentiles(np.take_along_axis(resampled, drawn, axis=1).mean(axis=1))
    models = {"teacher": teacher, "student_alone": student_alone, "student": student}
    closed = gap_closed(**{name: _mean_score(seeds) for name, seeds in models.items()})
    if closed is not None and not _is_gap(teacher, student_alone, rng):
        closed = None
    return Comparison(
        differences=differences.tolist(),
        mean_difference=float(differences.mean()),
        interval=interval,
        interval_with_examples=with_examples,
        gap_closed=closed,
    )


def _is_gap(teacher, student_alone, rng, num_resamples: int = 10_000) -> bool:
    """Whether the teachers are better beyond the chance of seeds, of examples where they count."""
    pairs = list(zip(teacher, student_alone, strict=True))
    drawn = rng.integers(len(pairs), size=(num_resamples, len(pairs)))
    if teacher[0].example_scores is None:
        gaps = np.array([t.score - a.score for t, a in pairs])[drawn]
    else:
        per_example = [t.example_scores - a.example_scores for t, a in pairs]
        resampled = _resample_examples(per_example, num_resamples, rng)
        gaps = np.take_along_axis(resampled, drawn, axis=1)
    return percentiles(gaps.mean(axis=1))[0] > 0


def rank_recipes(comparisons: Mapping[str, Mapping[str, Comparison]]) -> list[tuple[str, float]]:
    """Recipes that all datasets have, with their mean gain over these, best first.

    `comparisons` are those on validation, by dataset and recipe.
    """
    by_dataset = list(comparisons.values())
    common = [r for r in (by_dataset or [{}])[0] if all(r in recipes for recipes in by_dataset)]
    means = {r: float(np.mean([c[r].mean_difference for c in by_dataset])) for r in common}
    return sorted(means.items(), key=lambda item: -item[1])


def _mean_score(predictions: Sequence[Predictions]) -> float:
    # Rounded, so that equal figures in another order do not leave a gap of 1e-17.
    return round(float(np.mean([p.score for p in predictions])), 12)


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


def percentiles(means: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of figures from resamples."""
    low, high = np.percentile(means, [2.5, 97.5]).round(12)
    return float(low), float(high)
