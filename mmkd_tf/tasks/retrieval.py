"""Retrieval: two inputs that belong together find each other.

Outputs are pairs, see `mmkd_tf.losses.pairs`: float `[n, 2 * width]`, the embeddings of both
inputs side by side, the first at any scale that is the same for all.
"""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from mmkd_tf import losses
from mmkd_tf.losses.pairs import matching_loss
from mmkd_tf.tasks.labels import check_rows_left
from mmkd_tf.tasks.outputs import LOSSES_OF_CLASSES, TIE
from mmkd_tf.tasks.splits import joined, numbered, stratified_split
from mmkd_tf.tasks.task import Answers, SoftTargetDefaults, Task, Words

# Embeddings with at least this cosine are as good as the same.
_COSINE = 0.99
_AT_ONCE = 1024
_FEW = 10  # what people look through
_WIDTH_OF_CHANCE = 64  # of both embeddings that are drawn at random
_APART = (  # settings of models that read inputs together
    "distillation.relation_weight",
    "teacher.architecture",
    "teacher.fusion",
    "teacher.experts",
    "teacher.modality_dropout",
    "student.fusion",
    "student.inputs",
    "student.modality_dropout",
)


class Retrieval(Task):
    """Pairs. Labels: int32 `[n]`, the number of the item; inputs of one item belong together.

    Exported files hold one tower each: there `outputs` and `answers` are its embeddings, and
    `labels` those of the other input, float `[n, width]`.
    """

    name = "retrieval"
    headline = "recall_at_10"
    output = "embedding"
    output_range = (-1, 1)
    soft_target_losses = {"affinity": (losses.affinity_loss, {})}
    unfit_soft_targets = (*LOSSES_OF_CLASSES, losses.sigmoid_soft_target_loss)
    min_outputs = 2
    has_labels = False
    is_pairwise = True
    ignored_settings = {
        "distillation.on_wrong_teacher": "where no class is the right one",
        **dict.fromkeys(_APART, "whose models read each input by itself"),
        "teacher.finetune": "whose training gains by whole batches of pairs",
        "data.label_separator": "which has no label cells",
    }
    words = Words(
        columns=(
            ("recall at 10", "recall_at_10", ".3f"),
            ("recall at 1", "recall_at_1", ".3f"),
            ("mean reciprocal rank", "mean_reciprocal_rank", ".3f"),
            ("recall at 5", "recall_at_5", ".3f"),
        ),
        per_output="per_direction",
        output_columns=(
            ("recall at 1", "recall_at_1", ".3f"),
            ("recall at 5", "recall_at_5", ".3f"),
            ("recall at 10", "recall_at_10", ".3f"),
            ("median rank", "median_rank", ".4g"),
            ("candidates", "num_candidates", ""),
        ),
        headline="recall at 10",
        same="near Keras",
        meaning="Recall at 10: share of the queries that meet one that belongs to them among the "
        "ten best of the whole split. Mean reciprocal rank: mean of 1 / the rank of the first "
        "right one. Both directions count alike.",
        output_title="Direction by direction",
        output_meaning="Median rank: half of the queries meet a right one up to there.",
        truth="pairs",
        limits="It finds the best of the candidates, be there a right one or not, and knows "
        "nothing that its training pairs did not show.",
    )

    def label_columns(self, label):
        return []  # the pairs themselves say what belongs together

    def read_labels(self, cells, *, separator, names):
        return [()] * len(cells), {}

    def complete(self, tables):
        """Leaves out rows that lack an input; those with a problem stay, so that it is told."""
        complete, notes = dict(tables), []
        for split, rows in tables.items():
            lacks = [kind.absent(rows.inputs[name]) for name, kind in rows.kinds.items()]
            if len(lacks) != 2 or not len(rows):
                continue  # `check` says so
            kept = np.flatnonzero(
                ~np.any(lacks, axis=0) | np.isin(range(len(rows)), [*rows.problems])
            )
            if left_out := len(rows) - len(kept):
                complete[split] = rows.select(kept)
                complete[split].problems = {
                    place: rows.problems[index]
                    for place, index in enumerate(kept.tolist())
                    if index in rows.problems
                }
                count = "1 row" if left_out == 1 else f"{left_out:,} rows"
                both = " and ".join(rows.kinds)
                notes.append(f"{count} of {rows.source} without both {both} left out.")
        return complete, notes

    def check(self, tables, *, held_out, names):
        train = tables["train"]
        general = check_rows_left(tables)
        if len(train.kinds) != 2:
            general = [
                f"{train.source}: a pair is of two inputs, each to find the other. Received: "
                f"{', '.join(train.kinds)}."
            ]
        elif not general:
            general = [
                f"{train.source}: one {kind.noun} only; there is nothing to tell apart."
                for name, kind in train.kinds.items()
                if len(set(kind.pair_keys(train.inputs[name]))) < 2
            ]
        return {}, [], general

    def number(self, tables):
        """Rows that are equal in either input, directly or through others, are of one item.

        Each of its values of the one input is a right answer for each of the other.
        """
        pairs = []
        for rows in tables.values():
            keys = (kind.pair_keys(rows.inputs[name]) for name, kind in rows.kinds.items())
            pairs += zip(*keys, strict=True)
        root = joined(((0, first), (1, second)) for first, second in pairs)
        items = numbered([root((1, second)) for _, second in pairs])
        for rows in tables.values():
            rows.labels, items = items[: len(rows)], items[len(rows) :]

    def divide(self, labels, contents, *, fractions, seed):
        groups = numbered(labels)
        return stratified_split(
            ["pair"] * len(labels), groups=groups, fractions=fractions, seed=seed
        )

    def training_problems(self, labels, names):
        if len(set(labels)) > 1:
            return []
        return ["the rows left for training: one item only; there is nothing to tell apart."]

    def targets_of(self, labels, num_outputs):
        return None

    def label_array(self, labels, names):
        return np.array(labels, np.int32)

    def loss(self, statistics=None):
        return MatchingLoss()

    def metrics(self):
        return [BatchRecall()]

    def fits(self, loss):
        return isinstance(loss, MatchingLoss)

    def soft_targets(self, loss=None):
        """Softened less and weighed more than classes, as was best on emoji's validation split."""
        return SoftTargetDefaults(losses.affinity_loss, temperature=1.0, weight=1.0)

    def measure(self, *, labels, outputs, names, inputs=()):
        """Measures a two-tower model, each direction by the scalar product of embeddings.

        Returns:
            `recall_at_1`, `recall_at_5`, `recall_at_10`: the share of the queries with a right
            candidate among so many best ones, 0 to 1; `mean_reciprocal_rank`, of the first right
            one, above 0 to 1; all means over both directions. `per_direction`, a list of `name`,
            such as "image to text", the same figures, `median_rank`, and `num_candidates`, which
            each query chose from.
        """
        pairs, items = np.asarray(outputs, np.float64), np.asarray(labels)
        _check_pairs(pairs, items)
        first, second = inputs or ("first", "second")
        halves = unit_halves(pairs)
        both = [
            _direction(f"{first} to {second}", *halves, items),
            _direction(f"{second} to {first}", *halves[::-1], items),
        ]
        keys = ("recall_at_1", "recall_at_5", "recall_at_10", "mean_reciprocal_rank")
        means = {key: float(np.mean([each[key] for each in both])) for key in keys}
        return {**means, "per_direction": both}

    def score(self, *, labels, outputs):
        if np.ndim(labels) == 2:  # embeddings of the other input, as of exported files
            return self.file_score(labels=labels, answers=outputs)
        return self.measure(labels=labels, outputs=outputs, names=())[self.headline]

    def agreement(self, *, teacher_outputs, student_outputs):
        """Share of the queries, of both directions, with the same candidate first."""
        agreed = []
        for turn in (1, -1):
            firsts = []
            for pairs in (teacher_outputs, student_outputs):
                queries, candidates = unit_halves(pairs)[::turn]
                firsts.append(np.argmax(queries @ candidates.T, axis=1))
            agreed.append(np.mean(firsts[0] == firsts[1]))
        return float(np.mean(agreed))

    def example_scores(self, *, labels, outputs):
        """Share of the two queries of an example that meet a right candidate among ten."""
        return np.mean(_both_ranks(outputs, labels) <= _FEW, axis=0)

    def naive_outputs(self, *, training_labels, labels, names):
        drawn = np.random.default_rng(0).normal(size=[len(labels), _WIDTH_OF_CHANCE])
        return drawn, "drawing at random"

    def answers(self, *, labels, outputs, names, inputs=()):
        """Mistakes are mean logarithms of the rank of the first right candidate."""
        first, second = inputs or ("first", "second")
        ranks = _both_ranks(outputs, labels)
        words = [
            f"{second} found at rank {to:,.4g}, {first} at rank {back:,.4g}"
            for to, back in zip(*ranks, strict=True)
        ]
        return Answers(words, np.log(ranks).mean(axis=0))

    def disagreement(self, *, labels, outputs, others):
        ranks = (np.log(_both_ranks(each, labels)) for each in (outputs, others))
        return np.abs(next(ranks) - next(ranks)).mean(axis=0)

    def comparable(self, outputs, answers, labels=None):
        return outputs.astype(np.float64), answers.astype(np.float64), 1.0

    def same_answers(self, expected, found):
        return same_directions(expected, found)

    def file_score(self, *, labels, answers):
        """Recall at 10 of a tower's embeddings among those of the other input, in one direction."""
        ranks = first_ranks(queries=answers, candidates=labels, items=np.arange(len(labels)))
        return float(np.mean(ranks <= _FEW))

    def label_problems(self, labels, num_outputs):
        if labels.ndim == 2 and labels.dtype.kind == "f" and np.isfinite(labels).all():
            return []
        return [
            "`labels`: float [n, width] for retrieval, the embeddings of what is to be found. "
            f"Received: {labels.dtype} {list(labels.shape)}."
        ]

    def name_problems(self, names, num_outputs):
        if not names:
            return []
        return [
            "`class_names`: none for retrieval, whose outputs are no classes. Received: "
            f"{list(names[:20])}."
        ]

    def purpose(self, inputs, num_outputs):
        return f"Two encoders that put {inputs} that belong together near each other"

    def examples_have(self, num_outputs):
        return ", each a pair that belongs together"

    def agreement_sentence(self, agreement):
        return (
            f"The candidate that it puts first is its teacher's first for {agreement:.1%} of the "
            "test examples."
        )

    def describe(self, labels: Mapping[str, np.ndarray], names):
        return [f"{len(set(np.concatenate([*labels.values()]))):,} items"]


@keras.saving.register_keras_serializable("mmkd_tf")
class MatchingLoss(keras.losses.Loss):
    """`mmkd_tf.losses.pairs.matching_loss` as a Keras loss.

    What a pair is told from is the batch, so that it is refused under a distribution strategy of
    several replicas.
    """

    between_examples = True

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "matching"):
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true, y_pred):
        return matching_loss(pairs=y_pred, items=ops.reshape(y_true, [-1]))


@keras.saving.register_keras_serializable("mmkd_tf")
class BatchRecall(keras.metrics.Metric):
    """Share of the first inputs whose second is among the best ten of the batch.

    A smaller batch makes it easier: it tells how a training goes, and is not comparable with the
    recall on a whole split of `Retrieval.measure`.
    """

    def __init__(self, name: str = "batch_recall_at_10"):
        super().__init__(name=name)
        self.found = self.add_weight(name="found", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        first, second = ops.split(ops.cast(y_pred, "float32"), 2, axis=1)
        scores = ops.matmul(first, ops.transpose(second))
        items = ops.reshape(y_true, [-1])
        wrong = items[:, None] != items[None, :]
        own = ops.diagonal(scores)[:, None]
        # Equals count as better: a model that tells nothing apart finds nothing.
        better = ops.sum(ops.cast(ops.logical_and(wrong, scores >= own), "float32"), axis=1)
        self.found.assign_add(ops.sum(ops.cast(better < _FEW, "float32")))
        self.count.assign_add(ops.cast(ops.shape(items)[0], "float32"))

    def result(self):
        return self.found / ops.maximum(self.count, 1.0)


def same_directions(expected: np.ndarray, found: np.ndarray) -> float:
    """Share of the embeddings whose cosine with Keras' is 0.99 or more, or both are zeros."""
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    both_zero = ~(expected.any(axis=1) | found.any(axis=1))
    cosines = (expected * found).sum(axis=1) / np.maximum(lengths, TIE)
    return float(np.mean((cosines >= _COSINE) | both_zero))


def first_ranks(*, queries: np.ndarray, candidates: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Rank of the first right candidate of each query, float64 `[n]`, 1 for the best.

    Among candidates of equal score the order is nobody's merit: the rank is the one expected when
    they are shuffled, `1 + num_better + num_wrong_equals / (num_right_equals + 1)`. So a model
    that gives the same embedding to all ranks in the middle, and a rank of 1.5 is not a first.
    Queries and candidates are embeddings `[n, width]` in the same order; those with the same
    number in `items`, int `[n]`, are right answers for each other.
    """
    queries, candidates = np.asarray(queries, np.float64), np.asarray(candidates, np.float64)
    items = np.asarray(items)
    ranks = []
    for start in range(0, len(queries), _AT_ONCE):
        scores = queries[start : start + _AT_ONCE] @ candidates.T
        right = items[start : start + _AT_ONCE, np.newaxis] == items
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        better = (scores > best + TIE).sum(axis=1)
        equal = np.abs(scores - best) <= TIE
        wrong, others = (equal & ~right).sum(axis=1), (equal & right).sum(axis=1)
        ranks.append(1 + better + wrong / (others + 1))
    return np.concatenate(ranks)


def unit_halves(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits pairs `[n, 2 * width]` into two embeddings of length 1, or 0 where they are zeros."""
    halves = np.split(np.asarray(pairs, np.float64), 2, axis=1)
    lengths = [np.linalg.norm(half, axis=1, keepdims=True) for half in halves]
    first, second = (h / np.where(n > 0, n, 1) for h, n in zip(halves, lengths, strict=True))
    return first, second


def _both_ranks(pairs: np.ndarray, items: np.ndarray) -> np.ndarray:
    """`first_ranks` of both directions, `[2, n]`."""
    halves = unit_halves(pairs)
    both = (halves, halves[::-1])
    return np.array([first_ranks(queries=q, candidates=c, items=items) for q, c in both])


def _direction(name, queries, candidates, items) -> dict:
    ranks = first_ranks(queries=queries, candidates=candidates, items=items)
    return {
        "name": name,
        **{f"recall_at_{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)},
        "mean_reciprocal_rank": float(np.mean(1 / ranks)),
        "median_rank": float(np.median(ranks)),
        "num_candidates": len(ranks),
    }


def _check_pairs(pairs: np.ndarray, items: np.ndarray) -> None:
    problems = []
    if pairs.ndim != 2 or pairs.shape[1] % 2 or items.shape != pairs.shape[:1]:
        problems.append(
            "`outputs`, `labels`: shapes [n, 2 * width] and [n]. Received: "
            f"{list(pairs.shape)} and {list(items.shape)}."
        )
    elif not len(pairs):
        problems.append("`outputs`: at least one example. Received: none.")
    broken = int((~np.isfinite(pairs)).any(axis=-1).sum()) if pairs.ndim == 2 else 0
    if broken:
        problems.append(
            f"`outputs`: finite numbers. Received: NaN or infinity in {broken} of {len(pairs)} "
            "rows; the model diverged: train it again with a lower learning rate."
        )
    if problems:
        raise ValueError("\n".join(problems))
