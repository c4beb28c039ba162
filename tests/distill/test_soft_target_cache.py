import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.distill import soft_target_files as cache_module
from mmkd_tf.distill.soft_target_files import write_manifest, write_targets
from mmkd_tf.distill.soft_targets import SoftTargetCache, cache_batches

VALUES = {
    "logits": np.arange(30, dtype="float32").reshape(2, 5, 3),
    "maps": np.arange(40, dtype="float32").reshape(2, 5, 2, 2) / 7,
}


def make_cache(folder, augment=True):
    parts = [{name: v[view] for name, v in VALUES.items()} for view in (0, 1)]
    files = write_targets(folder, parts=parts, views=2, num_examples=5)
    key = {"views": 2, "seed": 7, "augment": augment, "data": "f" * 64}
    write_manifest(folder, {"key": key, "inputs": ["image"], "files": files})
    return SoftTargetCache(folder)


def test_says_what_it_holds(tmp_path):
    cache = make_cache(tmp_path)
    assert (cache.views, cache.seed, cache.augment, cache.num_examples) == (2, 7, True, 5)
    assert cache.fingerprint == "f" * 64 and cache.folder == tmp_path
    for name, values in VALUES.items():
        np.testing.assert_array_equal(cache.outputs[name], values)
    assert "views: 2, examples: 5, outputs: logits [3], maps [2, 2]" in repr(cache)


@pytest.mark.parametrize("most_bytes", [0, 2**20])
def test_reads_any_examples_of_any_view_in_a_pipeline(tmp_path, monkeypatch, most_bytes):
    monkeypatch.setattr(cache_module, "_MOST_BYTES_IN_MEMORY", most_bytes)
    read = make_cache(tmp_path).reader()
    index = tf.constant([4, 0, 4])
    pipeline = tf.data.Dataset.range(2, output_type=tf.int32).map(lambda view: read(view, index))
    assert pipeline.element_spec["maps"].shape[1:] == [2, 2]
    for view, outputs in enumerate(pipeline):
        assert sorted(outputs) == ["logits", "maps"]
        for name, values in VALUES.items():
            assert outputs[name].dtype == tf.float32
            np.testing.assert_array_equal(outputs[name], values[view][[4, 0, 4]])


def test_is_saved_by_its_folder(tmp_path):
    cache = make_cache(tmp_path)
    config = keras.saving.serialize_keras_object(cache)
    assert config["config"] == {"folder": str(tmp_path)}
    opened = keras.saving.deserialize_keras_object(config)
    assert isinstance(opened, SoftTargetCache)
    np.testing.assert_array_equal(opened.outputs["logits"], VALUES["logits"])
    with pytest.raises(ValueError, match="`folder`: a whole cache.*nowhere, which is not there"):
        SoftTargetCache.from_config({"folder": str(tmp_path / "nowhere")})


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    x = {"image": rng.normal(size=(10, 4)), "other": rng.normal(size=(10, 1))}
    data = (x, rng.integers(0, 3, 10), np.arange(10.0))
    return tf.data.Dataset.from_tensor_slices(data).batch(4)


@pytest.fixture
def teacher():
    inputs = keras.Input([4], name="image")
    return keras.Model(inputs, layers.Dense(3)(layers.Dense(2, name="hidden")(inputs)))


@pytest.fixture
def cache(batches, teacher, tmp_path):
    return cache_batches(teacher=teacher, batches=batches, folder=tmp_path, layers=["hidden"])


def test_zip_adds_outputs_and_changes_nothing_else(batches, teacher, cache):
    zipped = cache.zip(batches)
    assert zipped.cardinality() == 3
    for _ in range(2):
        for (x, y, w), (expected, labels, weights) in zip(zipped, batches, strict=True):
            marker = cache.marker("teacher")
            assert sorted(x) == ["image", "other", marker, "teacher/hidden", "teacher/logits"]
            np.testing.assert_array_equal(x["other"], expected["other"])
            np.testing.assert_array_equal(y, labels)
            np.testing.assert_array_equal(w, weights)
            np.testing.assert_allclose(x["teacher/logits"], teacher(x["image"]), atol=1e-6)


def test_zip_takes_other_batch_sizes_names_and_forms(batches, teacher, cache):
    alone = batches.unbatch().map(lambda x, y, w: x).batch(7)
    for x in cache.zip(cache.zip(alone), teacher_name="large"):
        np.testing.assert_allclose(x["large/logits"], teacher(x["image"]), atol=1e-6)
        np.testing.assert_array_equal(x["large/logits"], x["teacher/logits"])


def test_zipped_examples_can_be_shuffled(batches, teacher, cache):
    shuffled = cache.zip(batches).unbatch().shuffle(10, seed=0).batch(5)
    for x, _, _ in shuffled:
        np.testing.assert_allclose(x["teacher/logits"], teacher(x["image"]), atol=1e-6)


def test_inputs_that_the_teacher_does_not_take_may_change(batches, cache):
    changed = batches.map(lambda x, y, w: ({**x, "other": -x["other"]}, y))
    assert len(list(cache.zip(changed))) == 3


def test_zip_refuses_other_examples(batches, cache, tmp_path):
    shuffled = batches.unbatch().shuffle(10, seed=0).batch(4)
    for other in (batches.skip(1), batches.concatenate(batches), shuffled):
        with pytest.raises(ValueError, match="`batches`: the 10 examples that were cached"):
            cache.zip(other)
    passes = []

    def second_pass_shuffled():
        passes.append(None)
        yield from shuffled if len(passes) > 1 else batches

    changing = tf.data.Dataset.from_generator(
        second_pass_shuffled, output_signature=batches.element_spec
    )
    with pytest.raises(ValueError, match="changed between two passes, first in batch 1"):
        cache.zip(changing)
    with pytest.raises(ValueError, match="`batches`: a finite number"):
        cache.zip(batches.repeat())
    with pytest.raises(TypeError, match="x as a dict"):
        cache.zip(batches.map(lambda x, y, w: (x["image"], y)))
    (tmp_path / "views").mkdir()
    with pytest.raises(ValueError, match="`zip`: a cache made by cache_batches"):
        make_cache(tmp_path / "views").zip(batches)
