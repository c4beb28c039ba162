"""Generated rows: transfer rows that need no data, made of the training rows and of words.

A cross-fitted teacher reads features of each input by itself, so that what is made anew is asked
about at the cost of its own features alone.

References:
    Jiao, Yin, Shang et al.: TinyBERT: Distilling BERT for Natural Language Understanding, 2020
    (texts with words replaced by near ones, which the teacher answers).
    Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, 2018.
    Beyer, Zhai, Royer et al.: Knowledge Distillation: A Good Teacher Is Patient and Consistent,
    2022 (mixed pictures that teacher and student see alike).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.pretrained import features_of
from mmkd_tf.distill.transfer import SINGLE_WORDS, TransferRows, answers, ask, joined
from mmkd_tf.edge.tokenizer import split_words
from mmkd_tf.modalities.modality import in_tensor_form, is_absent, student_inputs
from mmkd_tf.modalities.text_damage import drop_words
from mmkd_tf.models.inheritance import Source

LEFT_OUT = 0.5  # share of a text's words
REPLACED = 0.3  # share of a text's words, one at least
NEIGHBOURS = 5  # of a word, from which its replacement is drawn
MIXED = (0.25, 0.75)  # share of a mixed picture that the one of two has


@dataclass(frozen=True)
class Generator:
    """Makes rows and asks the teacher about them; each method makes `rate` rows a training row.

    Fewer where there are no more, such as words. All follow from the seed.

    Attributes:
        teacher: Trained, of `cross_fitted_teacher`, of a task of one class.
        dataset: The data that it was trained for.
        encoders: By name of an input, those whose features the teacher reads of it, side by side.
        seed: Seed of what is drawn.
        folder: Where features of what is made are kept; None keeps none.
    """

    teacher: keras.Model
    dataset: Dataset
    encoders: Mapping[str, Sequence[Encoder]]
    seed: int = 0
    folder: Path | None = None

    def word_rows(self, rate: float) -> TransferRows | None:
        """Single words that the student knows, each alone."""
        texts, parts = self._names(words=True), []
        rng = self._random(0)
        for name in texts:
            known = self.dataset.modalities[name].vocabulary[2:]
            number = min(self._number(rate, texts), len(known))
            chosen = np.sort(rng.permutation(len(known))[:number])
            ids = np.zeros([number, self.dataset.modalities[name].length], np.int32)
            ids[:, 0] = 2 + chosen
            parts.append(({name: ids}, {name: self._word_features(name)[chosen]}))
        return self._of_one_input(SINGLE_WORDS, parts)

    def recombined_rows(self, rate: float) -> TransferRows | None:
        """Inputs of different training rows to which the teacher gives the same class."""
        own, theirs = self._training
        classes = self.teacher.predict(theirs, batch_size=512, verbose=0).argmax(1)
        rng, number = self._random(1), self._number(rate)
        classes_of_rows = classes[rng.integers(len(classes), size=number)]
        index = {name: np.full(number, -1, np.int32) for name in own}
        for name in own:
            present = ~is_absent(theirs[name])
            for one in np.unique(classes_of_rows):
                rows, there = classes_of_rows == one, np.flatnonzero((classes == one) & present)
                if len(there):
                    index[name][rows] = rng.choice(there, rows.sum())
        # Of one row, or of one input, they would say nothing new.
        picked = np.stack(list(index.values()))
        new = picked.max(0) > np.where(picked < 0, len(classes), picked).min(0)
        index = {name: rows[new] for name, rows in index.items()}
        given = {name: self._taken(theirs[name], rows) for name, rows in index.items()}
        return self._asked("recombined_rows", own, index, given)

    def word_dropout_rows(self, rate: float) -> TransferRows | None:
        """Texts of training rows with words left out; each second one with its other inputs."""
        return self._retold("word_dropout_rows", rate, lambda name: _without_words)

    def neighbour_rows(self, rate: float) -> TransferRows | None:
        """The same with words replaced by such as the encoders hold for near."""
        return self._retold("neighbour_rows", rate, self._replacing)

    def mixup_rows(self, rate: float) -> TransferRows | None:
        """Means of two training pictures as the student reads them, alone.

        The teacher's encoders read the mixed pictures themselves.
        """
        own, _ = self._training
        pictures, parts, rng = self._names(words=False), [], self._random(4)
        for name in pictures:
            there = np.flatnonzero(~is_absent(own[name]))
            number = self._number(rate, pictures)
            if len(there) < 2 or not number:
                continue
            first = rng.integers(len(there), size=number)
            other = there[(first + rng.integers(1, len(there), number)) % len(there)]
            first = there[first]
            share = rng.uniform(*MIXED, number).astype(np.float32)
            share = share.reshape([-1, *[1] * (own[name].ndim - 1)])
            mixed = np.empty([number, *own[name].shape[1:]], np.uint8)
            for at in range(0, number, 256):
                some = slice(at, at + 256)
                one, two = own[name][first[some]], own[name][other[some]]
                mixed[some] = np.rint(share[some] * one + (1 - share[some]) * two)
            kind = type(self.dataset.modalities[name])
            features = features_of(kind, mixed, self.encoders[name], folder=self.folder)
            parts.append(({name: mixed}, {name: features}))
        return self._of_one_input("mixup_rows", parts)

    @property
    def _training(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The training rows as the student and as the teacher reads them, by input."""
        own = student_inputs(self.dataset.splits["train"].inputs)
        theirs = self.dataset.seen_by(teacher=True).splits["train"].inputs
        return own, {name: theirs[name] for name in self.teacher.input}

    def _of_one_input(self, source: str, parts: Sequence[tuple[Mapping, Mapping]]):
        """Rows of one input each, of its values and features by its name."""
        made = []
        for values, features in parts:
            (held,) = values.values()
            index = {name: np.arange(len(held), dtype=np.int32) for name in values}
            made.append(self._asked(source, values, index, features))
        return joined(made)

    def _asked(
        self, source: str, values: Mapping, index: Mapping, given: Mapping[str, np.ndarray]
    ) -> TransferRows | None:
        """Rows with what the teacher says of the features `given`; None of no rows."""
        number = len(next(iter(index.values())))
        if not number:
            return None
        logits = ask(self.teacher, given)
        labels = answers(logits, self.dataset.task)
        return TransferRows(dict(values), dict(index), logits, labels, {source: number})

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 2, number])

    @staticmethod
    def _taken(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What the teacher reads of some rows, zeros for -1."""
        there = (rows >= 0).reshape([-1, *[1] * (features.ndim - 1)])
        return np.where(there, features[rows], 0)

    def _number(self, rate: float, names: Sequence[str] = ("",)) -> int:
        return round(rate * self.dataset.sizes["train"] / max(1, len(names)))

    def _names(self, *, words: bool) -> list[str]:
        """Inputs that have encoders, of words or of pictures."""
        read = self.dataset.modalities
        return [n for n in self.encoders if n in read and read[n].takes_utf8 == words]

    def _word_features(self, name: str) -> np.ndarray:
        words = self.dataset.modalities[name].vocabulary[2:]
        made = [Source(of, folder=self.folder).features(words) for of in self.encoders[name]]
        return np.concatenate(made, axis=1)

    def _retold(
        self, source: str, rate: float, changing: Callable[[str], Callable]
    ) -> TransferRows | None:
        """Makes rows of training rows with changed texts.

        `changing(name)` gives a function from a text and a generator to another text.
        """
        own, theirs = self._training
        names, made = self._names(words=True), []
        least = 2 if source == "word_dropout_rows" else 1  # words of a text
        rng = self._random(4 - least)
        for name in names:
            change, said = changing(name), self.dataset.splits["train"].raw[name]
            able = [row for row, text in enumerate(said) if len(split_words(text)) >= least]
            rows = rng.choice(able, self._number(rate, names)) if able else np.zeros([0], int)
            changed = {at: _changed(change, said[row], rng) for at, row in enumerate(rows)}
            kept = [at for at, text in changed.items() if text is not None]
            if kept:
                made.append((name, rows[kept], [changed[at] for at in kept]))
        parts = []
        for name, rows, texts in made:
            alone = np.arange(len(rows)) % 2 == 0
            form = self.dataset.modalities[name]
            values, index = {**own, name: in_tensor_form(form, texts)}, {}
            features = features_of(type(form), texts, self.encoders[name], folder=self.folder)
            given = {name: features}
            index[name] = np.arange(len(rows), dtype=np.int32)
            for other in set(own) - {name}:
                there = ~alone & ~is_absent(theirs[other])[rows]
                index[other] = np.where(there, rows, -1).astype(np.int32)
                given[other] = self._taken(theirs[other], index[other])
            parts.append(self._asked(source, values, index, given))
        return joined(parts)

    def _replacing(self, name: str) -> Callable[[str, np.random.Generator], str]:
        words = self.dataset.modalities[name].vocabulary[2:]
        features = self._word_features(name)
        row_of = {word: row for row, word in enumerate(words)}
        near: dict[str, np.ndarray] = {}

        def change(text: str, rng: np.random.Generator) -> str:
            said = split_words(text)
            known = [at for at, word in enumerate(said) if word in row_of]
            chances = rng.random(len(said))
            least = min((chances[at] for at in known), default=0)
            for at in known:
                if chances[at] < REPLACED or chances[at] == least:
                    word = said[at]
                    if word not in near:
                        alike = features @ features[row_of[word]]
                        alike[row_of[word]] = -np.inf
                        near[word] = np.argsort(-alike, kind="stable")[:NEIGHBOURS]
                    said[at] = words[rng.choice(near[word])]
            return " ".join(said)

        return change if len(words) > 1 else lambda text, rng: text


def _changed(change: Callable, text: str, rng: np.random.Generator) -> str | None:
    """Another text; None where several attempts leave it the same."""
    tries = (change(text, rng) for _ in range(8))
    return next((new for new in tries if split_words(new) != split_words(text)), None)


def _without_words(text: str, rng: np.random.Generator) -> str:
    return drop_words(text, LEFT_OUT, rng)
