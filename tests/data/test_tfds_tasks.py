import numpy as np
import pytest
import tensorflow_datasets as tfds

from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.tfds import from_tfds

TAGS = ["wool", "a|b", "red"]


class Tagged(tfds.core.GeneratorBasedBuilder):
    """Texts with tags, as classes and as words, and a price."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "text": tfds.features.Text(),
            "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=TAGS)),
            "words": tfds.features.Text(),
            "price": np.float32,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(40):
            tags = [index for index in range(3) if number >> index & 1]
            words = ["dry", "warm", "new"]
            yield (
                number,
                {
                    "text": f"thing {number}",
                    "tags": tags,
                    "words": ";".join(words[index] for index in tags) or ";",
                    "price": number / 4,
                },
            )


@pytest.fixture
def read(tmp_path):
    def read(label, **options):
        builder = Tagged(data_dir=tmp_path)
        return from_tfds(builder, image=None, label=label, options=DatasetOptions(**options))

    return read


def test_a_sequence_is_several_labels(read):
    dataset = read("tags")
    assert dataset.task.name == "multi_label" and dataset.class_names == TAGS
    labels = np.concatenate([part.labels for part in dataset.splits.values()])
    numbers = [
        int(text.split()[1]) for part in dataset.splits.values() for text in part.raw["text"]
    ]
    expected = [[number >> index & 1 for index in range(3)] for number in numbers]
    np.testing.assert_array_equal(labels, expected)


def test_words_with_a_separator(read):
    dataset = read("words", label_separator=";")
    assert dataset.task.name == "multi_label" and dataset.class_names == ["dry", "new", "warm"]


def test_a_number_is_a_target_if_asked(read):
    dataset = read("price", task="regression")
    assert dataset.task.name == "regression" and dataset.class_names == ["price"]
    for part in dataset.splits.values():
        expected = [[int(text.split()[1]) / 4] for text in part.raw["text"]]
        np.testing.assert_allclose(part.labels, expected)
    with pytest.raises(ValueError, match="or a number of any kind with task='regression'"):
        read("price")
    with pytest.raises(ValueError, match="`label`: the name of one feature"):
        read(["price", "tags"], task="regression")
