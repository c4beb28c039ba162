import numpy as np
import pytest
import tensorflow_datasets as tfds

from mmkd_tf.data import decoding
from mmkd_tf.data.features import find_features
from mmkd_tf.data.kept import KeptRows
from mmkd_tf.data.options import DatasetOptions, named_inputs
from mmkd_tf.data.rows import DataError
from mmkd_tf.data.tfds import find_builder, from_tfds

SMALL = DatasetOptions(image_size=8)
CLASSES = ["zebra", "ant"]


class Tiny(tfds.core.GeneratorBasedBuilder):
    """A dataset of any splits, with nested features and features of other kinds."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, sizes, unlabelled=(), **options):
        self.sizes, self.unlabelled = sizes, unlabelled
        super().__init__(**options)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "grey": tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16),
                    "depth": tfds.features.Image(shape=(4, 4, 1), dtype=np.float32),
                    "words": {"text": tfds.features.Text(), "length": np.int64},
                    "captions": tfds.features.Sequence(tfds.features.Text()),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, n) for split, n in self.sizes.items()}

    def _generate_examples(self, split, size):
        # Different values in each split: train counts from 1, the next split from 61, and so on.
        first = 1 + 60 * list(self.sizes).index(split)
        for number in range(first, first + size):
            yield (
                number,
                {
                    "image": np.full((9, 7, 3), number, np.uint8),
                    "grey": np.full((4, 4, 1), 257 * number, np.uint16),
                    "depth": np.zeros((4, 4, 1), np.float32),
                    "words": {"text": f"Nº {number}", "length": 3 + number % 2},
                    "captions": ["one", "two"],
                    "label": -1 if split in self.unlabelled else number % 2,
                },
            )


@pytest.fixture
def tiny(tmp_path):
    return lambda **options: Tiny(data_dir=tmp_path, **options)


def numbers(dataset, split):
    return dataset.splits[split].inputs["image"][:, 0, 0, 0].tolist()


def test_own_splits_and_values(tiny):
    dataset = from_tfds(
        tiny(sizes={"train": 20, "dev": 6, "test": 8}), text="words/text", options=SMALL
    )
    assert dataset.name == "tiny"
    assert dataset.sizes == {"train": 20, "validation": 6, "test": 8}
    assert dataset.class_names == CLASSES  # in the builder's order, not the alphabet's
    for split, first in (("train", 1), ("validation", 61), ("test", 121)):
        values = numbers(dataset, split)
        assert sorted(values) == list(range(first, first + len(values)))
        examples = dataset.splits[split]
        assert examples.labels.tolist() == [value % 2 for value in values]
        assert examples.raw["text"] == [f"Nº {value}" for value in values]
        assert examples.inputs["image"].shape == (len(values), 8, 8, 3)


def test_missing_splits_are_fractions_of_train(tiny):
    dataset = from_tfds(tiny(sizes={"train": 40, "test": 6}), text=None, options=SMALL)
    assert dataset.sizes == {"train": 34, "validation": 6, "test": 6}
    assert sorted(numbers(dataset, "train") + numbers(dataset, "validation")) == list(range(1, 41))
    assert list(dataset.modalities) == ["image"]


def test_a_single_split_of_any_name_is_divided(tiny):
    dataset = from_tfds(
        tiny(sizes={"full": 40}), image=None, text="words/text", test=0.25, options=SMALL
    )
    assert dataset.sizes == {"train": 24, "validation": 6, "test": 10}
    assert list(dataset.modalities) == ["text"]


def test_splits_by_name(tiny):
    builder = tiny(sizes={"train": 40, "validation": 10, "extra": 8})
    dataset = from_tfds(builder, text=None, test="validation", options=SMALL)
    assert dataset.sizes == {"train": 34, "validation": 6, "test": 10}
    dataset = from_tfds(builder, text=None, validation="extra[:50%]", options=SMALL)
    assert dataset.sizes == {"train": 34, "validation": 4, "test": 6}
    with pytest.raises(ValueError, match="`test`: a fraction, or one of the splits train, valid"):
        from_tfds(builder, text=None, test="tset", options=SMALL)


def test_a_test_split_without_labels_is_not_used(tiny):
    builder = tiny(sizes={"train": 40, "test": 6}, unlabelled=["test"])
    with pytest.warns(UserWarning, match="tiny: the split 'test' has no labels and is not used"):
        dataset = from_tfds(builder, text=None, options=SMALL)
    assert dataset.sizes == {"train": 28, "validation": 6, "test": 6}
    assert max(numbers(dataset, "test")) <= 40


def test_other_kinds_of_features_that_fit(tiny):
    dataset = from_tfds(
        tiny(sizes={"train": 20}),
        image="grey",
        text=None,
        label="words/length",
        options=SMALL,
    )
    assert dataset.class_names == ["3", "4"]
    assert dataset.splits["test"].labels.tolist() == [n % 2 for n in numbers(dataset, "test")]


def test_problems_name_the_example(tiny):
    builder = tiny(sizes={"train": 20, "validation": 4}, unlabelled=["train"])
    with pytest.raises(DataError, match=r"(?s)tiny train: no labels.*\(examples counted from 0\)"):
        from_tfds(builder, text=None, options=SMALL)


def test_unfit_features_are_errors_before_anything_is_prepared(tiny, tmp_path):
    with pytest.raises(ValueError) as caught:
        from_tfds(tiny(sizes={"train": 20}), image="depth", text="captions", label="labels")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        "`image`: the name of a feature that is a picture. Received: image='de"
    )
    assert lines[0].endswith("dtype=float32). Try image='image' or image='grey' or image=None.")
    assert lines[1].startswith(
        "`text`: the name of a feature that is a text. Received: text='caption"
    )
    assert lines[1].endswith("Try text='words/text' or text=None.")
    assert lines[2].endswith("Received: label='labels'. Try label='label'.")
    assert "  label: ClassLabel, 2 classes" in lines
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="`image`, `text`: a column for one of them at least"):
        from_tfds(tiny(sizes={"train": 20}), image=None, text=None)


def test_builders_without_a_training_split(tiny):
    with pytest.raises(ValueError, match="a split 'train', or with a single split.*one, two"):
        from_tfds(tiny(sizes={"one": 4, "two": 4}), text=None)


def test_public_datasets_by_name():
    with tfds.testing.mock_data(num_examples=40):
        dataset = from_tfds("oxford_iiit_pet", text="file_name", label="species", options=SMALL)
    assert dataset.class_names == ["Cat", "Dog"]
    assert sum(dataset.sizes.values()) == 40
    assert dataset.splits["train"].inputs["image"].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", ["emoji", "catalog"])
def test_our_own_datasets_by_name(name):
    builder = find_builder(name)
    assert builder.name == name
    inputs = named_inputs(None, image="image", text="text", options=SMALL)
    features, label = find_features(builder, inputs, "label")
    assert list(features) == ["image", "text"] and len(label.class_names) > 8


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match="Received: 'emojis'. Did you mean emoji"):
        from_tfds("emojis")
    with pytest.raises(TypeError, match="`name_or_builder`: .* Received: int"):
        from_tfds(5)


def test_a_failed_download_is_explained(tiny):
    builder = tiny(sizes={"train": 20})

    def fail(dl_manager):
        raise ConnectionError("no route to host")

    builder._split_generators = fail
    with pytest.raises(ValueError, match=r"prepared in '.*tiny.*' \(ConnectionError: no route"):
        from_tfds(builder, text=None)


def test_arguments_without_sense_are_errors(tiny):
    with pytest.raises(ValueError, match="`test`: a fraction above 0"):
        from_tfds(tiny(sizes={"train": 20}), text=None, test=0)


def test_two_pictures_and_nested_texts_by_name(tiny):
    inputs = {
        "front": {"kind": "image", "column": "image", "size": 8},
        "grey": {"kind": "image", "size": 9},
        "words": {"kind": "text", "column": "words/text"},
    }
    dataset = from_tfds(tiny(sizes={"train": 20, "test": 6}), inputs=inputs)
    assert list(dataset.modalities) == list(inputs)
    for examples in dataset.splits.values():
        front, grey = (examples.inputs[name][:, 0, 0, 0].tolist() for name in ("front", "grey"))
        assert front == grey and examples.labels.tolist() == [value % 2 for value in front]
        assert examples.raw["words"] == [f"Nº {value}" for value in front]


def test_unfit_features_of_inputs_by_name(tiny):
    inputs = {
        "front": {"kind": "image", "column": "depth"},
        "grey": {"kind": "image"},
        "words": {"kind": "text"},
    }
    with pytest.raises(ValueError) as caught:
        from_tfds(tiny(sizes={"train": 20}), inputs=inputs)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        "`inputs`, 'front': the name of a feature that is a picture. Received"
    )
    assert lines[0].endswith("dtype=float32). Try column='image' or column='grey'.")
    assert lines[1].startswith(
        "`inputs`, 'words': the name of a feature that is a text. Received: col"
    )
    assert lines[1].endswith("column='words'. Try column='words/text'.")


def test_a_set_of_pictures_is_of_a_table(tiny):
    inputs = {"photos": {"kind": "image", "columns": ["image", "grey"]}}
    with pytest.raises(ValueError, match="`inputs`, 'photos': one feature, in `column`"):
        from_tfds(tiny(sizes={"train": 4}), inputs=inputs)


def test_many_pictures_are_kept_on_disk(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path / "cache"))
    read = {"text": "words/text", "options": SMALL}
    given = {"sizes": {"train": 40, "test": 6}}
    in_memory = from_tfds(tiny(**given), **read)
    monkeypatch.setattr(decoding, "LEAST_BYTES", 1)
    for _ in range(2):
        on_disk = from_tfds(tiny(**given), **read)
        assert isinstance(on_disk.splits["test"].inputs["image"], KeptRows)
        assert on_disk.fingerprint() == in_memory.fingerprint()
        assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 2
        monkeypatch.setattr("mmkd_tf.modalities.picture_files.read_picture", None)
