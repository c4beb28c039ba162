"""Features of frozen encoders in place of the teacher's inputs, and other forms for the student."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmkd_tf.data.dataset import TRANSFER, Dataset, Examples, for_student, with_student_forms
from mmkd_tf.data.pretrained import FeatureVector, read_by_teacher, with_pretrained
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.image_set import ImageSet
from mmkd_tf.modalities.text import Text

TEXT = Text(vocabulary=["<pad>", "<unk>", "a", "b"], length=3)
SPLITS = ("train", "validation", "test")


class FakeEncoder:
    """Means of colours, or numbers of letters, and how often it was asked."""

    def __init__(self, kind, name=None):
        self.backbone = SimpleNamespace(name=name or f"fake {kind}", kind=kind, dim=3)
        self.fingerprint = f"print-of-{self.backbone.name}".replace(" ", "-")
        self.asked = 0

    def features(self, values):
        self.asked += len(values)
        if self.backbone.kind == "image":
            assert values.dtype == np.uint8
            return values.mean((1, 2)).astype(np.float32) / 255
        return np.float32([[text.count(letter) for letter in "abc"] for text in values])


def examples(pictures, texts):
    labels = np.arange(len(texts), dtype=np.int32) % 2
    pictures = np.stack([np.full([8, 8, 3], value, np.uint8) for value in pictures])
    inputs = {"image": pictures, "text": TEXT.to_tensor(texts).numpy()}
    return Examples(inputs, labels, {"text": texts})


@pytest.fixture
def dataset():
    """The picture 20 and the text "a b" are there twice; one of each is absent."""
    return Dataset(
        name="few",
        splits={
            "train": examples([10, 20, 30, 0], ["a b", "b b c", "", "a"]),
            "validation": examples([20, 40], ["a b", "c"]),
            "test": examples([50, 60], ["b", "c c"]),
        },
        class_names=["x", "y"],
        modalities={"image": Image(height=8), "text": TEXT},
    )


def encoders():
    return {"image": [FakeEncoder("image")], "text": [FakeEncoder("text")]}


def test_the_teacher_reads_what_the_encoders_say(dataset):
    seen = with_pretrained(dataset, encoders())
    for split in SPLITS:
        now, was = seen.splits[split].inputs, dataset.splits[split].inputs
        np.testing.assert_allclose(now["teacher/image"], was["image"].mean((1, 2)) / 255, rtol=1e-6)
        assert now["teacher/image"].dtype == now["teacher/text"].dtype == np.float32
        for name in ("image", "text"):  # the student's stay
            np.testing.assert_array_equal(now[name], was[name])
        assert seen.splits[split].raw == dataset.splits[split].raw
    train = seen.splits["train"].inputs["teacher/text"]
    np.testing.assert_array_equal(train, [[1, 1, 0], [0, 2, 1], [0, 0, 0], [1, 0, 0]])
    assert not seen.splits["train"].inputs["teacher/image"][3].any()  # which is absent
    assert seen.modalities["teacher/image"].describe() == "features of fake image"
    teacher = seen.seen_by(teacher=True)
    assert teacher.modalities["text"].input().shape == (None, 3)


def test_each_content_is_encoded_once(dataset):
    given = encoders()
    with_pretrained(dataset, given)
    assert given["image"][0].asked == 7 and given["text"][0].asked == 7


def test_several_encoders_stand_side_by_side_and_other_inputs_stay(dataset):
    first, second = FakeEncoder("text"), FakeEncoder("text", name="other")
    seen = with_pretrained(dataset, {"text": [first, second]})
    train = seen.splits["train"].inputs
    np.testing.assert_array_equal(train["teacher/text"][0], [1, 1, 0, 1, 1, 0])
    assert "teacher/image" not in train
    assert seen.modalities["teacher/text"].describe() == "features of fake text and other"


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("forms", [{}, {"image": Image(height=9)}], ids=["shared", "own"])
def test_features_of_rows_without_labels_can_wait(dataset, beside, forms):
    splits = dataset.splits | {TRANSFER: examples([70, 0, 80], ["c b", "b", ""])}
    both = Dataset(
        name="both", splits=splits, class_names=["x", "y"], modalities=dataset.modalities
    )
    both = with_student_forms(both, forms)
    at_once = with_pretrained(both, encoders(), beside=beside)
    given = encoders()
    left = with_pretrained(both, given, beside=beside, deferred=True)
    assert [one.asked for (one,) in given.values()] == [7, 7] and "labels" in repr(left)
    for split in SPLITS:
        for name, values in at_once.splits[split].inputs.items():
            np.testing.assert_array_equal(left.splits[split].inputs[name], values)
    some = left.splits[TRANSFER].select(np.array([2, 0]))
    read = read_by_teacher(some, given, beside=beside)
    for name, values in at_once.seen_by(teacher=True).splits[TRANSFER].inputs.items():
        np.testing.assert_array_equal(read[name], values[[2, 0]])
    assert [one.asked for (one,) in given.values()] == [9, 9]


def test_kept_features_are_read_however_the_examples_are_divided(dataset, tmp_path):
    before = with_pretrained(dataset, encoders(), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.glob(".*"))  # nothing half-written
    turned = Dataset(
        name="turned",
        splits=dict(zip(SPLITS, (dataset.splits[s] for s in reversed(SPLITS)), strict=True)),
        class_names=dataset.class_names,
        modalities=dataset.modalities,
    )
    for data, split in ((dataset, "train"), (turned, "test")):
        given = encoders()
        after = with_pretrained(data, given, folder=tmp_path).splits[split]
        assert [encoder.asked for (encoder,) in given.values()] == [0, 0]
        for name in ("teacher/image", "teacher/text"):
            expected = before.splits["train"].inputs[name]
            np.testing.assert_array_equal(after.inputs[name], expected)


def test_other_weights_or_other_examples_have_files_of_their_own(dataset, tmp_path):
    with_pretrained(dataset, {"text": [FakeEncoder("text")]}, folder=tmp_path)
    other = FakeEncoder("text", name="changed")
    with_pretrained(dataset, {"text": [other]}, folder=tmp_path)
    assert other.asked == 7
    splits = dataset.splits | {"test": examples([50], ["new"])}
    more = Dataset(
        name="more",
        splits=splits,
        class_names=dataset.class_names,
        modalities=dataset.modalities,
    )
    again = FakeEncoder("text")
    with_pretrained(more, {"text": [again]}, folder=tmp_path)
    assert again.asked == 6 and len(list(tmp_path.iterdir())) == 3


def cut(content):
    return content[:-20]


def emptied(content):
    return b""


def changed(content):
    """One number is another."""
    at = content.index(np.float32(2).tobytes())
    return content[:at] + np.float32(7).tobytes() + content[at + 4 :]


def garbage(content):
    return b"\x93NUMPY and so on"


@pytest.mark.parametrize("damage", [cut, emptied, changed, garbage])
def test_a_damaged_file_is_made_again(dataset, tmp_path, damage):
    with_pretrained(dataset, {"text": [FakeEncoder("text")]}, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    encoder = FakeEncoder("text")
    seen = with_pretrained(dataset, {"text": [encoder]}, folder=tmp_path)
    assert encoder.asked == 7
    np.testing.assert_array_equal(seen.splits["train"].inputs["teacher/text"][1], [0, 2, 1])
    with np.load(file) as kept:
        assert kept["features"].shape == (7, 3)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_holds_something_else_is_made_again(dataset, tmp_path):
    with_pretrained(dataset, {"text": [FakeEncoder("text")]}, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    kept = dict(np.load(file))
    for other in (
        {"features": kept["features"][:2]},
        {"features": kept["features"] + 1},  # whose checksum is another
    ):
        np.savez(file, **kept | other)
        encoder = FakeEncoder("text")
        with_pretrained(dataset, {"text": [encoder]}, folder=tmp_path)
        assert encoder.asked == 7


def test_an_interruption_leaves_no_file(dataset, tmp_path, monkeypatch):
    def killed(file, **arrays):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        with_pretrained(dataset, {"text": [FakeEncoder("text")]}, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_all_that_does_not_fit_is_listed(dataset):
    wrong = {"image": [FakeEncoder("text")], "smell": [FakeEncoder("image")]}
    with pytest.raises(ValueError) as error:
        with_pretrained(dataset, wrong)
    first, second = str(error.value).splitlines()
    assert first.startswith("`encoders['image']`: a backbone of kind image. Received: fake text")
    assert second.startswith("`encoders['smell']`: a backbone of kind of an input that is there")


def test_teachers_read_features_of_their_own_form(dataset):
    """Of the larger picture, where the student has a smaller one."""
    larger = Dataset(
        name="larger",
        splits={
            split: Examples(
                {"image": np.full([2, 16, 16, 3], [[[[90, 0, 0]]]], np.uint8)},
                np.zeros(2, np.int32),
            )
            for split in SPLITS
        },
        class_names=["x"],
        modalities={"image": Image(height=16)},
    )
    sizes = []

    class Sizes(FakeEncoder):
        def features(self, values):
            sizes.append(values.shape[1:])
            return super().features(values)

    seen = with_pretrained(for_student(larger, image={"size": 8}), {"image": [Sizes("image")]})
    assert sizes == [(16, 16, 3)]
    assert seen.splits["train"].inputs["image"].shape == (2, 8, 8, 3)
    np.testing.assert_allclose(seen.splits["train"].inputs["teacher/image"][0], [90 / 255, 0, 0])


def test_features_are_scaled_and_the_same_in_every_view():
    form = FeatureVector("text", 3, "features of something")
    values = np.float32([[0.1, 0.2, 0], [0, 0, 0]])
    seeds = np.int32([[1, 2], [3, 4]])
    np.testing.assert_array_equal(form.augment(values, seeds), values)
    np.testing.assert_allclose(form.teacher_encoder(values), 16 * values)
    assert form.fingerprint() != FeatureVector("text", 3, "features of others").fingerprint()


def test_a_student_of_more_words_leaves_the_teacher_its_form(dataset):
    more = Text(vocabulary=["<pad>", "<unk>", "a", "b", "c"], length=2)
    seen = with_student_forms(dataset, {"text": more})
    assert seen.modalities["text"] is more and seen.modalities["teacher/text"] is TEXT
    train = seen.splits["train"].inputs
    np.testing.assert_array_equal(train["text"], [[2, 3], [3, 3], [0, 0], [2, 0]])
    np.testing.assert_array_equal(train["teacher/text"], dataset.splits["train"].inputs["text"])
    assert "teacher/image" not in train


def test_a_teacher_that_has_a_form_of_its_own_keeps_it(dataset):
    both = for_student(dataset, text={"length": 1})
    more = Text(vocabulary=["<pad>", "<unk>", "a", "b", "c"], length=2)
    for data in (
        with_student_forms(both, {"text": more}),
        with_student_forms(with_pretrained(both, encoders()), {"text": more}),
    ):
        assert data.modalities["text"] is more
        assert data.splits["test"].inputs["text"].shape == (2, 2)
        assert data.splits["test"].inputs["teacher/text"].shape == (2, 3)
    assert data.modalities["teacher/text"].describe() == "features of fake text"
    assert with_student_forms(dataset, {}).modalities == dataset.modalities


def test_features_of_a_set_are_the_mean_of_those_that_are_there(tmp_path):
    class Directions(FakeEncoder):
        """Of unit length, as encoders' are, and zeros of absent pictures."""

        def features(self, values):
            self.asked += len(values)
            found = np.float32([np.eye(3)[one[0, 0, 0] % 3] for one in values])
            return found * values.any((1, 2, 3))[:, None]

    sets = np.zeros([3, 2, 8, 8, 3], np.uint8)
    sets[0, 0], sets[0, 1], sets[1, 1] = 3, 4, 4  # the first two axes; the second alone
    given = Examples({"photos": sets}, np.zeros(3, np.int32))
    few = Dataset(
        name="few",
        splits=dict.fromkeys(SPLITS, given),
        class_names=["x", "y"],
        modalities={"photos": ImageSet("photos", views=2, height=8)},
    )
    encoder = Directions("image")
    seen = with_pretrained(few, {"photos": [encoder]}, folder=tmp_path)
    found = seen.splits["train"].inputs["teacher/photos"]
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)
    assert encoder.asked == 3  # two pictures and an absent one, each once
