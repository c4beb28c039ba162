"""Files of inheriting students keep their bounds, with room for labels and longer words."""

import keras
import numpy as np
import pytest
from sizes import PARTS, Words, file_parts

from mmkd_tf.backbones.efficientnet_lite import SCALES, _blocks, _convolve
from mmkd_tf.models.inheritance import LARGEST_FILES, SIZES

SYLLABLES = ["ba", "con", "der", "est", "fi", "gra", "hol", "in", "ka", "lo", "men", "nor", "o"]
SYLLABLES += ["pre", "qui", "ra", "st", "ti", "un", "ver", "wa", "x", "y", "za"]


class Pictures:
    """EfficientNet-Lite0 with random weights."""

    block_count = 16

    def first_blocks(self, count, *, height, width, name):
        inputs = keras.Input([height, width, 3], dtype="uint8", name=f"{name}_pixels")
        blocks = _blocks(*SCALES["efficientnet_lite0"])[:count]
        return keras.Model(inputs, _convolve(inputs, blocks, name=name), name=name)


@pytest.fixture(scope="module")
def words():
    """Distinct words of two to four syllables, 7.6 letters long, as those of a real vocabulary."""
    drawn = np.random.default_rng(0).choice(SYLLABLES, [60_000, 4])
    counts = np.random.default_rng(1).choice([2, 3, 4], 60_000, p=[0.2, 0.3, 0.5])
    made = dict.fromkeys("".join(row[:count]) for row, count in zip(drawn, counts, strict=True))
    return Words(list(made))


@pytest.mark.parametrize("name", SIZES)
def test_files_keep_their_bounds_and_use_them(words, name):
    size = SIZES[name]
    assert len(words.words()) > size.words + 2_000
    parts = file_parts(size, ["dynamic4"], image=Pictures(), text=words)["dynamic4"]
    assert tuple(parts) == PARTS and all(parts.values())
    share = sum(parts.values()) / 1024 / LARGEST_FILES[name]
    assert 0.85 < share < 0.97
    # Half a byte for each number of a word and two bytes for its scale, then the LSTM's ids.
    num_words = 2_000 + size.words
    assert parts["word table"] == pytest.approx(num_words * (size.word_dim / 2 + 2), rel=0.01)
