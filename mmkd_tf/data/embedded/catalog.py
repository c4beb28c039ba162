"""Catalog: rendered product pictures with sellers' titles, any number, best accuracy known.

What "the labels need both modalities" means here: the class of an item is a pair, its kind (mug,
bottle, ...) and its condition (new, used). Each modality shows each half of the pair with a known
probability, and whatever it does not show it knows nothing about. By default the picture almost
always shows the kind and seldom the condition, and the title tells the condition and only half
the time the kind: neither is enough, and together they nearly are.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from mmkd_tf.data.embedded import pictures_with_texts
from mmkd_tf.data.embedded.catalog_pictures import draw_picture

KINDS = ("mug", "bottle", "lamp", "chair", "handbag")
CONDITIONS = ("new", "used")
CLASS_NAMES = tuple(f"{condition} {kind}" for kind in KINDS for condition in CONDITIONS)

# Of every ten examples in a row: so the split of an example does not depend on their number.
SPLITS = {"train": range(0, 7), "validation": range(7, 8), "test": range(8, 10)}

_PROBABILITIES = ("kind_in_image", "condition_in_image", "kind_in_text", "condition_in_text")

# How sellers write.
KIND_WORDS = {
    "mug": ("mug", "cup", "coffee mug", "tea cup", "tankard"),
    "bottle": ("bottle", "flask", "water bottle", "carafe", "decanter"),
    "lamp": ("lamp", "desk lamp", "lantern", "table light", "reading lamp"),
    "chair": ("chair", "armchair", "dining chair", "seat", "side chair"),
    "handbag": ("handbag", "bag", "tote", "shoulder bag", "purse"),
}
CONDITION_WORDS = {
    "new": ("new", "brand new", "sealed", "untouched", "with tags"),
    "used": ("used", "second hand", "pre-owned", "worn", "vintage"),
}
CLUTTER = (
    "great gift idea, free postage, top quality, must see, low price, fast delivery, pick up only, "
    "home decor, classic design, bargain, rare find, l@@k, no reserve, item 4821, "
    "from smoke free home, 100% genuine"
).split(", ")
TYPO_RATE = 0.25  # Of the words that tell a kind or a condition.


@dataclasses.dataclass(eq=False, kw_only=True)
class CatalogConfig(tfds.core.BuilderConfig):
    """How many items there are and what is seen of them; a value out of range is a ValueError.

    Attributes:
        num_examples: int, at least 10; 70 % train, 10 % validation, 20 % test.
        image_size: int, side of the pictures in pixels, at least 16.
        seed: int, 0 or more. An example depends on it, on its own index and on the probabilities.
        kind_in_image: float, 0 to 1, probability that the picture shows what the product is;
            otherwise it lies in a closed carton.
        condition_in_image: The same that a price tag or a plaster shows whether it is new or used.
        kind_in_text: The same that the title says what the product is.
        condition_in_text: The same that the title says whether it is new.
        name: The folder of the prepared data; by default made from the values above.
    """

    name: str = ""
    num_examples: int = 5000
    image_size: int = 64
    seed: int = 0
    kind_in_image: float = 0.95
    condition_in_image: float = 0.25
    kind_in_text: float = 0.515
    condition_in_text: float = 0.96

    def __post_init__(self):
        problems = []
        for field, lowest in (("num_examples", 10), ("image_size", 16), ("seed", 0)):
            value = getattr(self, field)
            if not isinstance(value, int) or value < lowest:
                problems.append(
                    f"`{field}`: an int of {lowest} or more. Received: {field}={value!r}. "
                    f"Set it to {lowest} or more."
                )
        for field in _PROBABILITIES:
            value = getattr(self, field)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                problems.append(
                    f"`{field}`: a probability. Received: {field}={value!r}. "
                    "Set it to a number from 0 to 1."
                )
        if problems:
            raise ValueError("\n".join(problems))
        self.name = self.name or (
            f"{self.num_examples}x{self.image_size}px-seed{self.seed}"
            f"-image{self.kind_in_image}_{self.condition_in_image}"
            f"-text{self.kind_in_text}_{self.condition_in_text}"
        )


@dataclasses.dataclass(frozen=True)
class Item:
    """What is true of one item, and what its picture and its title show, None where nothing."""

    kind: str
    condition: str
    in_image: tuple[str | None, str | None]
    in_text: tuple[str | None, str | None]

    @property
    def label(self) -> str:
        """The class, one of `CLASS_NAMES`."""
        return f"{self.condition} {self.kind}"


def make_item(config: CatalogConfig, rng: np.random.Generator) -> Item:
    """Draws an item: all halves and all views of them are independent, kinds equally likely."""
    kind = KINDS[rng.integers(len(KINDS))]
    condition = CONDITIONS[rng.integers(len(CONDITIONS))]

    def view(of_kind: float, of_condition: float) -> tuple[str | None, str | None]:
        first = kind if rng.random() < of_kind else None
        return first, condition if rng.random() < of_condition else None

    return Item(
        kind,
        condition,
        in_image=view(config.kind_in_image, config.condition_in_image),
        in_text=view(config.kind_in_text, config.condition_in_text),
    )


def best_accuracy(config: CatalogConfig) -> dict[str, float]:
    """The highest expected accuracy (Bayes) from `image`, `text` and `both`, each 0 to 1.

    Who sees a half of the class is always right about it; who does not can only guess, and is
    right once in `len(KINDS)` or once in `len(CONDITIONS)` times. The halves are independent, so
    with `seen` the probabilities that a half is seen

        accuracy = (kind_seen + (1 - kind_seen) / 5) * (condition_seen + (1 - condition_seen) / 2)

    Both modalities together fail to see a half only where each of them fails.

    Examples:
        >>> {name: round(best, 3) for name, best in best_accuracy(CatalogConfig()).items()}
        {'image': 0.6, 'text': 0.6, 'both': 0.966}
    """

    def accuracy(kind_seen: float, condition_seen: float) -> float:
        return (kind_seen + (1 - kind_seen) / len(KINDS)) * (
            condition_seen + (1 - condition_seen) / len(CONDITIONS)
        )

    return {
        "image": accuracy(config.kind_in_image, config.condition_in_image),
        "text": accuracy(config.kind_in_text, config.condition_in_text),
        "both": accuracy(
            1 - (1 - config.kind_in_image) * (1 - config.kind_in_text),
            1 - (1 - config.condition_in_image) * (1 - config.condition_in_text),
        ),
    }


def typos(word: str) -> list[str]:
    """Misspellings of a word, in a fixed order: letters after the first swapped, missing, doubled.

    Words of fewer than four letters have none.
    """
    if len(word) < 4:
        return []
    found = []
    for i in range(1, len(word)):
        found.append(word[:i] + word[i + 1 :])
        found.append(word[:i] + word[i] + word[i:])
        found.append(word[:i] + word[i : i + 2][::-1] + word[i + 2 :])
    return [spelling for spelling in dict.fromkeys(found) if spelling != word]


def write_title(kind: str | None, condition: str | None, rng: np.random.Generator) -> str:
    """Writes 1 to 5 phrases that tell the kind and the condition unless they are None."""
    clutter = rng.choice(len(CLUTTER), size=rng.integers(1, 4), replace=False)
    phrases = [CLUTTER[i] for i in clutter]
    for told, words in ((kind, KIND_WORDS), (condition, CONDITION_WORDS)):
        if told is not None:
            phrases.append(_misspell(words[told][rng.integers(len(words[told]))], rng))
    title = " ".join(phrases[i] for i in rng.permutation(len(phrases)))
    return (title, title.capitalize(), title.title(), title.upper())[rng.integers(4)]


def _misspell(phrase: str, rng: np.random.Generator) -> str:
    words = []
    for word in phrase.split():
        wrong = typos(word) if rng.random() < TYPO_RATE else []
        words.append(wrong[rng.integers(len(wrong))] if wrong else word)
    return " ".join(words)


def make_example(config: CatalogConfig, index: int) -> dict:
    """Makes example `index`: picture and title are given what they show, and nothing else."""
    rng = np.random.default_rng([config.seed, index])
    item = make_item(config, rng)
    return {
        "text": write_title(*item.in_text, rng),
        "image": draw_picture(*item.in_image, rng, config.image_size),
        "label": item.label,
    }


class Catalog(tfds.core.GeneratorBasedBuilder):
    """Product pictures and titles to be sorted into kind and condition; see `CatalogConfig`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Five kinds, two conditions."}

    def __init__(self, *, config: CatalogConfig | None = None, **kwargs):
        super().__init__(config=config or CatalogConfig(), **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        best = best_accuracy(self.builder_config)
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Rendered product pictures with titles as sellers write them. The class is what "
                "the product is and whether it is new. The best accuracy that any model can "
                f"reach: {best['image']:.3f} from the image, {best['text']:.3f} from the text, "
                f"{best['both']:.3f} from both."
            ),
            **pictures_with_texts(self.builder_config.image_size, CLASS_NAMES),
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        del dl_manager  # Nothing is downloaded.
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        for index in range(self.builder_config.num_examples):
            if index % 10 in SPLITS[split]:
                yield index, make_example(self.builder_config, index)
