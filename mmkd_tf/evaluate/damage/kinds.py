"""The kinds of damage that robustness is measured under, each at five strengths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.evaluate.damage import pictures, texts


@dataclass(frozen=True)
class Damage:
    """A way in which inputs go bad.

    Attributes:
        modality: What is damaged, `image` or `text`.
        change: Gives the damaged value of `(value, amount, rng)`.
        amounts: From weak to strong.
        measure: What an amount says, for people.
        form: How an amount is written.
        clean: How no damage is written.
    """

    modality: str
    change: Callable
    amounts: tuple[float, ...]
    measure: str
    form: str = "{:.0%}"
    clean: str = "0%"

    @property
    def levels(self) -> list[str]:
        """All amounts in words, from none on."""
        return [self.clean, *map(self.form.format, self.amounts)]


_FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
_UP_TO_THREE_QUARTERS = (0.15, 0.3, 0.45, 0.6, 0.75)

DAMAGES = {
    "blur": Damage(
        "image",
        pictures.blur,
        (0.01, 0.02, 0.03, 0.04, 0.05),
        "radius as a share of the width",
    ),
    "noise": Damage(
        "image",
        pictures.noise,
        (20, 40, 60, 80, 100),
        "standard deviation, of 255",
        form="{}",
        clean="0",
    ),
    "jpeg": Damage("image", pictures.jpeg, (50, 30, 20, 10, 5), "quality", "{}", clean="none"),
    "occlusion": Damage(
        "image", pictures.occlude, (0.1, 0.2, 0.3, 0.4, 0.5), "share of the picture hidden"
    ),
    "typos": Damage("text", texts.mistype, _FIFTHS, "share of the words with a mistake"),
    "dropped_words": Damage(
        "text", texts.drop_words, _UP_TO_THREE_QUARTERS, "share of the words left out"
    ),
    "shuffled_words": Damage(
        "text", texts.shuffle_words, _FIFTHS, "share of the words in another's place"
    ),
}


def damaged(
    damage: Damage, amount: float, dataset: Dataset, *, split: str, rows: Sequence[int], seed: int
) -> np.ndarray:
    """Damages the chosen examples of a split.

    An example's damage follows from the seed and its row alone, and the draws are the same for
    every amount: a strong damage is a weak one gone further.

    Args:
        damage: What is done.
        amount: How much of it.
        dataset: The data.
        split: Which split.
        rows: Which of its examples.
        seed: Seed of what is random.

    Returns:
        The modality's tensor form with one entry for each row; an absent value stays absent.
    """
    examples: Examples = dataset.splits[split]
    generators = (np.random.default_rng([seed, row]) for row in rows)
    if damage.modality == "text":
        changed = [
            damage.change(examples.texts[row], amount, rng)
            for row, rng in zip(rows, generators, strict=True)
        ]
        return dataset.modalities["text"].to_tensor(changed).numpy()
    values = examples.inputs[damage.modality]
    return np.stack(
        [
            damage.change(values[row], amount, rng) if values[row].any() else values[row]
            for row, rng in zip(rows, generators, strict=True)
        ]
    )
