import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.data.batches import training_batches
from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.distill import soft_targets as maker
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.soft_targets import (
    SoftTargetCache,
    TeacherOutputs,
    cache_batches,
    cache_soft_targets,
)
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models import build_teacher
from mmkd_tf.models.seeding import seeded


def make_dataset(seed=0, count=70):
    rng = np.random.default_rng(seed)

    def examples(count):
        pictures = rng.integers(0, 256, [count, 8, 8, 3]).astype(np.uint8)
        texts = rng.integers(2, 12, [count, 4]).astype("int32")
        return Examples({"image": pictures, "text": texts}, rng.integers(0, 3, count, "int32"))

    return Dataset(
        name="noise",
        splits={"train": examples(count), "validation": examples(2), "test": examples(2)},
        class_names=["a", "b", "c"],
        modalities={
            "image": Image(height=8),
            "text": Text(vocabulary=["<pad>", "<unk>", *map(str, range(10))], length=4),
        },
    )


def make_teacher(seed=0, activation="tanh", names=("image", "text")):
    image = keras.Input([8, 8, 3], dtype="uint8", name=names[0])
    text = keras.Input([4], dtype="int32", name=names[1])
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    x = layers.Dense(5, activation=activation, name="image_features")(x)
    words = layers.Embedding(12, 3, name="words")(text)
    fused = layers.Concatenate()([x, layers.Flatten()(words)])
    model = keras.Model({"image": image, "text": text}, layers.Dense(3)(fused))
    return seeded(model, seed=seed)


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


@pytest.fixture(scope="module")
def teacher():
    return make_teacher()


def assert_fed_as_live(cache, *, teacher, dataset, features, **arguments):
    """Compares every batch with what the teacher says of it at that moment."""
    batches = list(training_batches(dataset, soft_targets=cache, batch_size=16, **arguments))
    live = keras.Model(
        teacher.input, {"logits": teacher.output, features: teacher.get_layer(features).output}
    )
    for x, _ in batches:
        said = live({name: x[name] for name in ("image", "text")}, training=False)
        for name, values in said.items():
            np.testing.assert_allclose(x[f"teacher/{name}"], values, rtol=1e-5, atol=1e-6)
    return batches


def test_cached_views_are_what_a_live_teacher_says_of_the_same_batches(dataset, teacher, tmp_path):
    cache = cache_soft_targets(
        teacher=teacher,
        dataset=dataset,
        folder=tmp_path / "cache",
        views=3,
        seed=11,
        layers=["image_features", "words"],
    )
    assert cache.outputs["words"].shape == (3, 70, 4, 3)
    assert (cache.views, cache.seed, cache.augment, cache.num_examples) == (3, 11, True, 70)
    fed = {"teacher": teacher, "dataset": dataset, "seed": 11}
    shown = assert_fed_as_live(cache, epochs=3, features="image_features", **fed)
    # With as many epochs as views, the batches are those of a training without a cache.
    plain = training_batches(dataset, epochs=3, batch_size=16, seed=11)
    for (x, y), (expected, labels) in zip(shown, plain, strict=True):
        np.testing.assert_array_equal(x["image"], expected["image"])
        np.testing.assert_array_equal(y, labels)
    # The teacher was asked about complete examples, and no two views are alike.
    for x, _ in shown:
        assert x["image"].numpy().any(axis=(1, 2, 3)).all() and x["text"].numpy().any(axis=1).all()
    logits = cache.outputs["logits"]
    assert all(np.abs(logits[a] - logits[b]).max() > 1e-3 for a, b in ((0, 1), (0, 2), (1, 2)))


def test_more_epochs_than_views_and_an_interrupted_training(dataset, teacher, tmp_path):
    arguments = {"teacher": teacher, "dataset": dataset}
    folder = tmp_path / "cache"
    cache = cache_soft_targets(folder=folder, views=2, layers=["words"], **arguments)
    arguments["features"] = "words"
    whole = assert_fed_as_live(cache, epochs=5, **arguments)
    resumed = assert_fed_as_live(cache, first_epoch=3, epochs=5, **arguments)
    for (x, _), (expected, _) in zip(resumed, whole[15:], strict=True):
        for name in x:
            np.testing.assert_array_equal(x[name], expected[name])


def test_the_models_of_this_package(dataset, tmp_path):
    teacher = seeded(build_teacher(dataset), seed=0)
    arguments = {"teacher": teacher, "dataset": dataset, "seed": 3}
    cache = cache_soft_targets(folder=tmp_path, views=2, layers=["text_features"], **arguments)
    assert_fed_as_live(cache, epochs=3, features="text_features", **arguments)


def test_without_augmentation_one_view_serves_every_seed(dataset, teacher, tmp_path):
    arguments = {"teacher": teacher, "dataset": dataset, "augment": False}
    cache = cache_soft_targets(folder=tmp_path, layers=["words"], seed=4, **arguments)
    assert cache.seed is None
    assert_fed_as_live(cache, epochs=2, seed=9, features="words", **arguments)
    again = cache_soft_targets(folder=tmp_path, layers=["words"], seed=5, **arguments)
    np.testing.assert_array_equal(again.outputs["logits"], cache.outputs["logits"])


def test_a_student_learns_the_same_from_a_cache_as_from_the_teacher(dataset, teacher, tmp_path):
    cache = cache_soft_targets(teacher=teacher, dataset=dataset, folder=tmp_path, views=2)

    def learned(teacher, soft_targets):
        student = make_teacher(seed=5)
        distiller = Distiller(student=student, teacher=teacher)
        distiller.compile(keras.optimizers.SGD(0.1))
        batches = training_batches(dataset, epochs=2, batch_size=16, soft_targets=soft_targets)
        distiller.fit(batches, steps_per_epoch=5, epochs=2, shuffle=False, verbose=0)
        return student.get_weights()

    before = make_teacher(seed=5).get_weights()
    pairs = zip(before, learned(teacher, None), learned(cache, cache), strict=True)
    for first, live, cached in pairs:
        assert np.abs(live - first).max() > 1e-3
        np.testing.assert_allclose(cached, live, rtol=1e-4, atol=1e-6)


@pytest.fixture
def unasked(monkeypatch):
    """Makes it a failure to run the teacher over the data."""

    def fail(*_):
        raise AssertionError("the teacher was asked again")

    return lambda: monkeypatch.setattr(TeacherOutputs, "of_each", fail)


def test_a_whole_cache_is_opened_and_the_teacher_not_asked(dataset, tmp_path, unasked):
    folder = str(tmp_path / "cache")
    made = cache_soft_targets(
        teacher=make_teacher(), dataset=dataset, folder=folder, layers=("words", "image_features")
    )
    unasked()
    opened = cache_soft_targets(
        teacher=make_teacher(),  # built again: another object, other automatic names
        dataset=make_dataset(),
        folder=folder,
        layers=["image_features", "words", "words"],
    )
    for name, values in made.outputs.items():
        np.testing.assert_array_equal(opened.outputs[name], values)


def test_everything_that_differs_is_told(dataset, teacher, tmp_path):
    folder = tmp_path / "cache"
    cache_soft_targets(teacher=teacher, dataset=dataset, folder=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError) as error:
        cache_soft_targets(
            teacher=make_teacher(seed=1, activation="relu"),
            dataset=make_dataset(seed=1),
            folder=folder,
            views=2,
            seed=5,
            layers=["words"],
        )
    for difference in (
        "- teacher (other weights)",
        "- teacher (another architecture)",
        "- data (other examples)",
        "- views: 1 there, now 2",
        "- seed: 0 there, now 5",
        "- layers: [] there, now ['words']",
        "Choose another folder",
    ):
        assert difference in str(error.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("change", ["teacher", "dataset", "views", "seed", "augment", "layers"])
def test_each_difference_alone_is_refused(dataset, teacher, tmp_path, change):
    arguments = {"teacher": teacher, "dataset": dataset, "folder": tmp_path}
    cache_soft_targets(**arguments)
    changed = {
        "teacher": make_teacher(seed=1),
        "dataset": make_dataset(seed=1),
        "views": 2,
        "seed": 1,
        "augment": False,
        "layers": ["words"],
    }
    with pytest.raises(ValueError, match=f"which differs in:\n- {change[:4]}"):
        cache_soft_targets(**{**arguments, change: changed[change]})


def test_a_change_of_code_is_noticed(dataset, teacher, tmp_path, monkeypatch):
    arguments = {"teacher": teacher, "dataset": dataset, "folder": tmp_path}
    cache_soft_targets(**arguments)
    monkeypatch.setattr(Image, "augment", lambda self, batch, seeds: 255 - batch)
    with pytest.raises(ValueError, match=r"\['logits'\] differ from what it says now.*code"):
        cache_soft_targets(**arguments)


DAMAGES = {
    "no manifest": lambda folder: (folder / "soft_targets.json").unlink(),
    "a manifest cut short": lambda folder: truncate(folder / "soft_targets.json"),
    "an array cut short": lambda folder: truncate(folder / "soft_targets-0.npy"),
    "an array that is missing": lambda folder: (folder / "soft_targets-0.npy").unlink(),
    "a changed bit": lambda folder: flip(folder / "soft_targets-0.npy"),
}


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again_and_says_so(dataset, teacher, tmp_path, damage):
    arguments = {"teacher": teacher, "dataset": dataset, "folder": tmp_path / "cache"}
    expected = {n: v.copy() for n, v in cache_soft_targets(**arguments).outputs.items()}
    DAMAGES[damage](tmp_path / "cache")
    with pytest.raises(ValueError, match="`folder`: a whole cache.*Make it again with cache_soft"):
        SoftTargetCache(tmp_path / "cache")
    with pytest.warns(UserWarning, match="The cache is made again.*soft_targets") as warned:
        cache = cache_soft_targets(**arguments)
    ours = [str(w.filename) for w in warned if "made again" in str(w.message)]
    assert ours == [__file__], [str(w.message) for w in warned]
    np.testing.assert_array_equal(cache.outputs["logits"], expected["logits"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cache_soft_targets(**arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_foreign_files_are_left_alone(dataset, teacher, tmp_path):
    arguments = {"teacher": teacher, "dataset": dataset, "folder": tmp_path}
    (tmp_path / "logits.npy").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"with 1 other files \(logits.npy\) and no whole cache"):
        cache_soft_targets(**arguments)
    (tmp_path / "logits.npy").unlink()
    cache_soft_targets(**arguments)
    (tmp_path / "notes.txt").write_text("mine")
    cache_soft_targets(**arguments)  # a whole cache can hold notes
    flip(tmp_path / "soft_targets-0.npy")
    with pytest.raises(ValueError, match=r"notes.txt"):
        cache_soft_targets(**arguments)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="`folder`: a folder. Received: the file"):
        cache_soft_targets(**{**arguments, "folder": tmp_path / "notes.txt"})


def test_an_interrupt_leaves_nothing(dataset, teacher, tmp_path, monkeypatch):
    of_each = TeacherOutputs.of_each

    def interrupted(*arguments):
        for number, outputs in enumerate(of_each(*arguments)):
            if number == 1:
                raise KeyboardInterrupt
            yield outputs

    arguments = {"teacher": teacher, "dataset": dataset, "folder": tmp_path / "cache"}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(TeacherOutputs, "of_each", interrupted)
        cache_soft_targets(**arguments)
    assert not list(tmp_path.iterdir())
    assert cache_soft_targets(**arguments).num_examples == 70


def test_two_processes_can_make_the_same_cache(dataset, teacher, tmp_path, monkeypatch):
    arguments = {"teacher": teacher, "dataset": dataset, "folder": tmp_path / "cache"}
    write = maker.write_manifest

    def overtaken(*given):
        monkeypatch.setattr(maker, "write_manifest", write)
        cache_soft_targets(**arguments)  # the other process is ready first
        write(*given)

    monkeypatch.setattr(maker, "write_manifest", overtaken)
    assert cache_soft_targets(**arguments).num_examples == 70
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_refuses_what_makes_no_sense(dataset, teacher, tmp_path):
    arguments = {"teacher": teacher, "dataset": dataset, "folder": tmp_path}
    for views in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match=f"`views`: a whole number, 1 or.*views={views}"):
            cache_soft_targets(**arguments, views=views)
    with pytest.raises(ValueError, match="`views`: 1 without augmentation.*augment=False"):
        cache_soft_targets(**arguments, views=2, augment=False)
    with pytest.raises(ValueError, match=r"without \['x'\]. Its layers are \['image'"):
        cache_soft_targets(**arguments, layers=["x"])
    with pytest.raises(ValueError, match="at least one training example. Received: none"):
        cache_soft_targets(**{**arguments, "dataset": make_dataset(count=0)})
    with pytest.raises(ValueError, match="ends in probabilities"):
        softmax = keras.Model(teacher.input, layers.Softmax()(teacher.output))
        cache_soft_targets(**{**arguments, "teacher": softmax})

    class Subclassed(keras.Model):
        def call(self, x):
            return x["image"]

    with pytest.raises(TypeError, match="`teacher`.*Subclassed"):
        cache_soft_targets(**{**arguments, "teacher": Subclassed()})
    broken = make_teacher()
    broken = keras.Model(broken.input, layers.Rescaling(np.inf)(broken.output))
    with pytest.raises(ValueError, match=r"\['logits'\] hold NaN.*view 0: 0, 1, 2, 3, 4, \.\.\."):
        cache_soft_targets(**{**arguments, "teacher": broken})
    assert not list(tmp_path.iterdir())


def own_batches(dataset, batch_size=16):
    """A pipeline that a user may have, of which the order stays."""
    examples = dataset.splits["train"]
    data = tf.data.Dataset.from_tensor_slices((dict(examples.inputs), examples.labels))
    return data.shuffle(100, seed=3, reshuffle_each_iteration=False).batch(batch_size)


def test_any_batches_that_stay_can_be_cached(dataset, teacher, tmp_path, unasked):
    batches = own_batches(dataset)
    arguments = {"teacher": teacher, "folder": tmp_path, "layers": ["words"]}
    cache = cache_batches(batches=batches, **arguments)
    assert (cache.views, cache.num_examples, cache.augment) == (1, 70, None)
    expected = np.concatenate([teacher(x, training=False) for x, _ in batches])
    np.testing.assert_allclose(cache.outputs["logits"][0], expected, rtol=1e-5, atol=1e-6)
    unasked()
    again = cache_batches(batches=own_batches(dataset, batch_size=9), **arguments)
    np.testing.assert_array_equal(again.outputs["words"], cache.outputs["words"])
    with pytest.raises(ValueError, match="- data \\(other examples\\)"):
        cache_batches(batches=batches.skip(1), **arguments)
    with pytest.raises(ValueError, match="'teacher' has augment=None, not False"):
        training_batches(dataset, epochs=1, augment=False, soft_targets=cache)


def test_batches_that_change_are_refused(dataset, teacher, tmp_path):
    arguments = {"teacher": teacher, "folder": tmp_path}
    batches = own_batches(dataset)
    noise = tf.random.Generator.from_seed(0)

    def augment(x, y):
        added = noise.uniform(tf.shape(x["image"]), 0, 9, tf.int32)
        return {**x, "image": x["image"] // 2 + tf.cast(added, tf.uint8)}, y

    for changing in (batches.shuffle(10, seed=1), batches.map(augment)):
        with pytest.raises(ValueError, match="changed between two passes, first in batch 1"):
            cache_batches(batches=changing, **arguments)
    with pytest.raises(ValueError, match="`batches`: a finite number"):
        cache_batches(batches=batches.repeat(), **arguments)
    with pytest.raises(ValueError, match="at least one training example"):
        cache_batches(batches=batches.take(0), **arguments)
    assert not list(tmp_path.iterdir())
    cache_batches(batches=batches.map(augment).cache(), **arguments)  # made once: it stays


def test_batches_of_another_cache_are_refused(tmp_path):
    x = {"image": np.eye(4, dtype="float32")}
    batches = tf.data.Dataset.from_tensor_slices((x, np.zeros(4, "int32"))).batch(2)

    def classifier():
        inputs = {"image": keras.Input([4], name="image")}
        return keras.Model(inputs, keras.layers.Dense(3)(inputs["image"]))

    own, other = (
        cache_batches(teacher=classifier(), batches=batches, folder=tmp_path / name)
        for name in ("own", "other")
    )
    distiller = Distiller(student=classifier(), teacher=own)
    distiller.compile("adam")
    distiller.fit(own.zip(batches), verbose=0)
    with pytest.raises(ValueError, match="`x`: the outputs of teacher 'teacher'.*of another cache"):
        distiller.fit(other.zip(batches), verbose=0)


def test_a_teacher_with_broken_weights_is_refused(tmp_path):
    inputs = {"image": keras.Input([4], name="image")}
    teacher = keras.Model(inputs, keras.layers.Dense(3)(inputs["image"]))
    teacher.set_weights([np.full([4, 3], np.nan), np.zeros(3)])
    batches = tf.data.Dataset.from_tensor_slices({"image": np.eye(4)}).batch(2)
    with pytest.raises(ValueError, match="`teacher`: a trained model whose weights are finite"):
        cache_batches(teacher=teacher, batches=batches, folder=tmp_path)
