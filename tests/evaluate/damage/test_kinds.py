from types import SimpleNamespace

import numpy as np
import pytest

from mmkd_tf.data.dataset import Examples
from mmkd_tf.evaluate.damage.kinds import DAMAGES, damaged
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

TEXTS = ["a small red cup", "", "two blue lamps here", "!!!", "one more green pot"]


@pytest.fixture
def dataset():
    text = Text.from_texts(TEXTS, length=6)
    pictures = np.random.default_rng(0).integers(1, 255, [5, 16, 16, 3]).astype(np.uint8)
    pictures[1] = 0
    inputs = {"image": pictures, "text": text.to_tensor(TEXTS).numpy()}
    examples = Examples(inputs, np.zeros(5, np.int32), TEXTS)
    return SimpleNamespace(splits={"test": examples}, modalities={"image": Image(16), "text": text})


def damage(kind, dataset, *, rows=range(5), level=-1, seed=0):
    amount = DAMAGES[kind].amounts[level]
    return damaged(DAMAGES[kind], amount, dataset, split="test", rows=list(rows), seed=seed)


@pytest.mark.parametrize("kind", DAMAGES)
def test_five_levels_change_what_is_there_and_leave_what_is_absent(kind, dataset):
    clean = dataset.splits["test"].inputs[DAMAGES[kind].modality]
    present = clean.reshape(5, -1).any(axis=1)
    assert len(DAMAGES[kind].amounts) == 5 and len(set(DAMAGES[kind].levels)) == 6
    for level in range(5):
        changed = damage(kind, dataset, level=level)
        assert changed.dtype == clean.dtype and changed.shape == clean.shape
        np.testing.assert_array_equal(changed.reshape(5, -1).any(axis=1), present)
    assert (changed != clean).reshape(5, -1).any(axis=1)[present].all()


@pytest.mark.parametrize("kind", DAMAGES)
def test_an_example_is_damaged_alike_whatever_stands_beside_it(kind, dataset):
    together = damage(kind, dataset)
    np.testing.assert_array_equal(damage(kind, dataset, rows=[4, 0]), together[[4, 0]])


@pytest.mark.parametrize("kind", ["noise", "occlusion", "typos", "shuffled_words"])
def test_another_seed_is_other_damage(kind, dataset):
    damages = [damage(kind, dataset, level=1, seed=seed) for seed in (0, 1)]
    assert (damages[0] != damages[1]).any()


def test_levels_say_what_was_done():
    assert DAMAGES["blur"].levels == ["0%", "1%", "2%", "3%", "4%", "5%"]
    assert DAMAGES["jpeg"].levels == ["none", "50", "30", "20", "10", "5"]
