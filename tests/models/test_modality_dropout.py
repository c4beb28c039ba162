import keras
import numpy as np
import pytest

from mmkd_tf.models import ModalityDropout

COUNT = 20_000


def inputs(num_without_text=0):
    text = np.ones([COUNT, 3], "int32")
    text[:num_without_text] = 0
    return {"image": np.full([COUNT, 2, 2, 3], 9, "uint8"), "text": text}


def there(tensors):
    return {name: np.asarray(x).reshape(COUNT, -1).any(axis=1) for name, x in tensors.items()}


def test_each_modality_is_dropped_at_its_rate_and_never_all():
    dropped = ModalityDropout({"image": 0.3, "text": 0.5}, seed=1)(inputs(5000), training=True)
    found = there(dropped)
    # 5000 examples have a picture alone, which they keep.
    assert found["image"][:5000].all() and not found["text"][:5000].any()
    both = {name: values[5000:] for name, values in found.items()}
    assert (both["image"] | both["text"]).all()
    # Both draws fall below their rates in .15 of the examples. With u < .3 and v < .5 the picture
    # is kept if u - .3 > v - .5, that is v < u + .2: on average .35 / .5 of the time.
    assert 1 - both["image"].mean() == pytest.approx(0.3 - 0.15 * 0.7, abs=0.015)
    assert 1 - both["text"].mean() == pytest.approx(0.5 - 0.15 * 0.3, abs=0.015)
    for name, values in dropped.items():
        assert values.dtype == inputs()[name].dtype
        assert set(np.unique(values)) == {0, inputs()[name].max()}


def test_three_modalities_can_lose_two():
    x = {name: np.ones([COUNT, 2], "float32") for name in ("audio", "image", "text")}
    found = there(ModalityDropout(dict.fromkeys(x, 0.9), seed=0)(x, training=True))
    counts = np.sum(list(found.values()), axis=0)
    assert counts.min() == 1 and (counts == 1).mean() > 0.9
    # .1 survive their own draw; where none does, in .9 ** 3, one of three is kept.
    expected = [0.1 + 0.9**3 / 3] * 3
    assert [values.mean() for values in found.values()] == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("rates", [{}, {"image": 0.0, "text": 0}])
def test_without_rates_all_is_kept(rates):
    assert all(
        values.all() for values in there(ModalityDropout(rates)(inputs(), training=True)).values()
    )


def test_inference_changes_nothing():
    x = inputs(10)
    for name, values in ModalityDropout({"image": 1.0, "text": 1.0})(x, training=False).items():
        np.testing.assert_array_equal(values, x[name])


def test_the_seed_makes_the_draws():
    def draw(seed):
        return there(ModalityDropout({"image": 0.5}, seed=seed)(inputs(), training=True))["image"]

    np.testing.assert_array_equal(draw(3), draw(3))
    assert (draw(3) != draw(4)).any()


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_model_with_it_saves_and_loads(dtype, tmp_path):
    tensors = {
        "image": keras.Input([2, 2, 3], dtype="uint8", name="image"),
        "text": keras.Input([3], dtype="int32", name="text"),
    }
    layer = ModalityDropout({"text": 0.4}, seed=5, dtype=dtype, name="modality_dropout")
    model = keras.Model(tensors, layer(tensors))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").get_layer("modality_dropout")
    assert (loaded.rates, loaded.seed) == ({"text": 0.4}, 5)
    assert model.count_params() == 0


@pytest.mark.parametrize("rates", [{"image": 1.5}, {"image": -0.1, "text": "often"}, 0.3])
def test_refuses_what_are_no_rates(rates):
    with pytest.raises(ValueError, match="`rates`"):
        ModalityDropout(rates)


def test_refuses_a_modality_that_is_not_there():
    with pytest.raises(ValueError, match=r"`rates`: modalities of the model.*\['sound'\]"):
        ModalityDropout({"sound": 0.5})(inputs(), training=True)
