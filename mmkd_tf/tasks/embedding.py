"""Embedding: examples of one identity lie near each other, of identities unseen in training too.

The form of face recognition. Outputs are embeddings, float `[n, width]`, of length 1, or zeros for
an example without inputs. The direction of each training identity is learnt beside the model, for
training alone: see `mmkd_tf.tasks.identities`.
"""

from collections import Counter

import numpy as np

from mmkd_tf import losses
from mmkd_tf.modalities.cells import quote
from mmkd_tf.tasks.identities import AngularMargin, BatchRankOne, with_identities
from mmkd_tf.tasks.labels import check_inputs, check_rows_left, is_list, label_text, read_each
from mmkd_tf.tasks.outputs import LOSSES_OF_CLASSES, check_finite
from mmkd_tf.tasks.retrieval import same_directions
from mmkd_tf.tasks.splits import joined, numbered, stratified_split
from mmkd_tf.tasks.task import Answers, SoftTargetDefaults, Task, Words
from mmkd_tf.tasks.verification import (
    cosines_of,
    counts_of,
    identification_ranks,
    nearest,
    pairs_of,
    threshold_at,
    unit,
    verification,
)

_WIDTH_OF_CHANCE = 32  # of embeddings that are drawn at random
_FILE_RATE = 0.01  # false accepts at the threshold that a file holds


class Embedding(Task):
    """Identities. Labels: int32 `[n]`, the number of the identity; equal ones belong together.

    No identity of a held-out split is in training. The headline is the rank-1 rate: a mean over
    examples, so that differences of models have intervals over these, and what an app shows first.
    The equal error rate hardly moves where models are good, and true accepts at 0.1 % stand on few
    pairs.
    """

    name = "embedding"
    headline = "rank_1"
    output = "embedding"
    output_range = (-1, 1)
    soft_target_losses = {
        "embedding": (losses.embedding_loss, {}),
        "cosine": (losses.embedding_loss, {"relation_weight": 0.0}),
        "relations": (losses.embedding_loss, {"cosine_weight": 0.0}),
    }
    unfit_soft_targets = (
        *LOSSES_OF_CLASSES,
        losses.sigmoid_soft_target_loss,
        losses.affinity_loss,
    )
    min_outputs = 2
    ignored_settings = {
        "distillation.on_wrong_teacher": "where no class is the right one",
        "teacher.architecture": "whose models give no classes",
        "teacher.experts": "as each model has a space of its own",
        "teacher.finetune": "whose head of training identities a teacher does not keep",
        "data.label_separator": "whose label cells hold one identity",
    }
    words = Words(
        columns=(
            ("rank-1 rate", "rank_1", ".3f"),
            ("equal error rate", "equal_error_rate", ".3f"),
            ("true accepts at 1 %", "true_accepts_at_1_percent", ".3f"),
            ("true accepts at 0.1 %", "true_accepts_at_01_percent", ".3f"),
        ),
        per_output="per_threshold",
        output_columns=(
            ("threshold", "threshold", ".3f"),
            ("true accepts", "true_accepts", ".3f"),
            ("false accepts", "false_accepts", ".4f"),
            ("pairs of one identity", "genuine_pairs", ","),
            ("pairs of two", "impostor_pairs", ","),
        ),
        headline="rank-1 rate",
        same="near Keras",
        meaning="Rank-1 rate: share of the examples whose nearest, in a gallery of one other "
        "example of each identity of the split, is of their own; the more identities, the harder. "
        "Equal error rate: share of wrong answers on whether two examples are of one identity, at "
        "the threshold where both kinds of mistakes are as frequent; 0 is best, 0.5 chance. True "
        "accepts: share of the pairs of one identity that are accepted where 1 %, or 0.1 %, of the "
        "pairs of two are. All identities are unseen in training.",
        output_title="Threshold by threshold",
        output_meaning="Two examples are taken for one identity where the cosine of their "
        "embeddings is above the threshold, which is that of these test pairs.",
        truth="identities",
        limits="It says how alike two examples are, not who is on them: it always finds a nearest, "
        "be the right one there or not, unless a threshold is set. Thresholds hold for examples "
        "like those that they were found on.",
    )

    def read_labels(self, cells, *, separator, names):
        return read_each(cells, _identity)

    def check(self, tables, *, held_out, names):
        """Refuses identities that two splits share; their names are kept in no model."""
        train = tables["train"]
        general = check_rows_left(tables)
        if not general:
            general = _identity_problems(train, held_out) + check_inputs(train)
        first: dict[str, str] = {}
        for split, rows in tables.items():
            for index, label in enumerate(rows.labels):
                if label and first.setdefault(label, split) != split:
                    rows.add_problem(
                        index,
                        f"identity {quote(label)}: {first[label]} rows have it too; each identity "
                        "in one split, as models are measured on identities that they never saw",
                    )
        return {label: label for label in first}, [], general

    def number(self, tables):
        """Numbers the identities of all splits."""
        labels = [label for rows in tables.values() for label in rows.labels]
        numbers = numbered(labels)
        for rows in tables.values():
            rows.labels, numbers = numbers[: len(rows)], numbers[len(rows) :]

    def divide(self, labels, contents, *, fractions, seed):
        """Identities, and those that share an example's content, are never divided.

        Each split gets its share of those with one example, with two or three, with four to seven
        and so on.
        """
        root = joined(
            ((0, label), (1, content)) for label, content in zip(labels, contents, strict=True)
        )
        groups = numbered([root((0, label)) for label in labels])
        sizes = Counter(groups)
        kinds = [sizes[group].bit_length() for group in groups]
        return stratified_split(kinds, groups=groups, fractions=fractions, seed=seed)

    def training_problems(self, labels, names):
        if len(set(labels)) > 1:
            return []
        return ["the rows left for training: one identity only; there is nothing to tell apart."]

    def label_array(self, labels, names):
        return np.array(numbered(labels) if isinstance(labels[0], str) else labels, np.int32)

    def targets_of(self, labels, num_outputs):
        return None

    def loss(self, statistics=None):
        return AngularMargin()

    def metrics(self):
        return [BatchRankOne()]

    def fits(self, loss):
        return isinstance(loss, AngularMargin)

    def soft_targets(self, loss=None):
        return SoftTargetDefaults(losses.embedding_loss, temperature=None, weight=10.0)

    def trained_with(self, model, labels, *, seed):
        return with_identities(model, labels, seed=seed)

    def measure(self, *, labels, outputs, names, inputs=()):
        """Measures embeddings by their cosines.

        Returns:
            `rank_1`, the share of the examples whose own identity is nearest, see
            `identification_ranks`; `num_identities`; and what `mmkd_tf.tasks.verification` gives.
        """
        identities, embeddings = _checked(labels, outputs)
        return {
            "rank_1": self.score(labels=identities, outputs=embeddings),
            **verification(embeddings, identities),
            "num_identities": len(np.unique(identities)),
        }

    def score(self, *, labels, outputs):
        """The rank-1 rate; 0 where no example has another of its identity."""
        return float(self.example_scores(labels=labels, outputs=outputs).mean())

    def agreement(self, *, teacher_outputs, student_outputs):
        """Share of the examples with the same other example nearest."""
        return float(np.mean(nearest(unit(teacher_outputs)) == nearest(unit(student_outputs))))

    def example_scores(self, *, labels, outputs):
        """1 for an example found; those alone with their identity have 0, and the others more.

        So that the mean over all is the rate among those that can be found.
        """
        ranks = identification_ranks(unit(outputs), np.asarray(labels))
        asked = np.isfinite(ranks)
        return (ranks <= 1) * len(ranks) / max(asked.sum(), 1)

    def study_scores(self, *, labels, outputs):
        figures = self.measure(labels=labels, outputs=outputs, names=())
        keys = ("rank_1", "equal_error_rate", "true_accepts_at_1_percent")
        return {key: figures[key] for key in (*keys, "true_accepts_at_01_percent")}

    def naive_outputs(self, *, training_labels, labels, names):
        drawn = np.random.default_rng(0).normal(size=[len(labels), _WIDTH_OF_CHANCE])
        return drawn, "drawing at random"

    def answers(self, *, labels, outputs, names, inputs=()):
        """Mistakes are logarithms of the rank of the right identity."""
        ranks = identification_ranks(unit(outputs), np.asarray(labels))
        words = [
            "alone with its identity" if np.isnan(rank) else f"identity found at rank {rank:,.4g}"
            for rank in ranks
        ]
        return Answers(words, np.log(np.nan_to_num(ranks, nan=1.0)))

    def disagreement(self, *, labels, outputs, others):
        first, second = (
            self.answers(labels=labels, outputs=each, names=()).mistakes
            for each in (outputs, others)
        )
        return np.abs(first - second)

    def comparable(self, outputs, answers, labels=None):
        return outputs.astype(np.float64), answers.astype(np.float64), 1.0

    def same_answers(self, expected, found):
        """Share of the embeddings whose cosine with Keras' is 0.99 or more, or both are zeros."""
        return same_directions(expected, found)

    def file_threshold(self, *, labels, outputs):
        """The cosine above which two are taken for one identity, at 1 % false accepts."""
        identities, embeddings = _checked(labels, outputs)
        _, pairs = pairs_of(identities)
        return threshold_at(cosines_of(embeddings, pairs), _FILE_RATE) if len(pairs) else None

    def label_problems(self, labels, num_outputs):
        if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
            return []
        return [
            "`labels`: integers [n] for embedding, the number of each example's identity. "
            f"Received: {labels.dtype} {list(labels.shape)}."
        ]

    def name_problems(self, names, num_outputs):
        if not names:
            return []
        return [
            "`class_names`: none for embedding, whose outputs are no classes; identities are not "
            f"in the file. Received: {list(names[:20])}."
        ]

    def purpose(self, inputs, num_outputs):
        return f"An encoder that puts {inputs} of one identity near each other"

    def examples_have(self, num_outputs):
        return ", of identities that no two splits share"

    def agreement_sentence(self, agreement):
        return (
            f"The example that it puts nearest is its teacher's nearest for {agreement:.1%} of the "
            "test examples."
        )

    def describe(self, labels, names):
        counts = ", ".join(f"{n:,} in {split}" for split, n in counts_of(labels).items())
        return [f"identities: {counts}"]


def _identity(cell) -> str:
    if is_list(cell):
        raise ValueError(f"identity {quote(cell)}: a list; one identity an example")
    if not (text := label_text(cell)):
        raise ValueError("identity: missing")
    return text


def _identity_problems(train, held_out) -> list[str]:
    """Says why rows have too few identities for all splits that are taken of them."""
    counts = Counter(label for label in train.labels if label)
    several, splits = sum(count > 1 for count in counts.values()), ["train", *held_out]
    if len(counts) >= 2 and several >= len(splits):
        return []
    return [
        f"{train.source}: {len(counts):,} identities, {several:,} of them with two rows or more; "
        f"{' and '.join(splits)} need two identities at least, and one with two rows "
        f"{'each' if held_out else 'at least'}. Identities are in the label column."
    ]


def _checked(labels, outputs) -> tuple[np.ndarray, np.ndarray]:
    """Identities, and embeddings in float64 at length 1; refused where they don't fit."""
    identities, embeddings = np.asarray(labels), np.asarray(outputs, np.float64)
    if embeddings.ndim != 2 or identities.shape != embeddings.shape[:1] or not len(embeddings):
        raise ValueError(
            "`outputs`, `labels`: shapes [n, width] and [n], at least one example. Received: "
            f"{list(embeddings.shape)} and {list(identities.shape)}."
        )
    check_finite(embeddings, argument="outputs")
    return identities, unit(embeddings)
