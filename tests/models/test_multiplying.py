import numpy as np
import pytest

from mmkd_tf.models import FiLM, LowRankTensor


def test_low_rank_tensor_is_the_image_of_the_outer_product(features, presence, with_random_weights):
    layer = with_random_weights(LowRankTensor(3, rank=2), features, presence)
    factors, appended = {}, {}
    for name, values in features.items():
        kernel, bias = layer.factors[name].get_weights()
        factors[name] = np.vstack([kernel, bias]).reshape(-1, 2, 3)
        appended[name] = np.hstack([values, np.ones([5, 1])])
    weights = np.einsum("ird,trd->itd", factors["image"], factors["text"]) / 2
    outer = np.einsum("bi,bt->bit", appended["image"], appended["text"])
    expected = np.einsum("bit,itd->bd", outer, weights)
    np.testing.assert_allclose(layer(features, presence), expected, rtol=1e-4, atol=1e-5)


def test_low_rank_tensor_begins_near_a_sum(features, presence):
    layer = LowRankTensor(3, rank=1)
    zeros = {name: np.zeros_like(values) for name, values in features.items()}
    np.testing.assert_array_equal(layer(zeros, presence), np.ones([5, 3]))


def test_film_by_hand(features, presence, with_random_weights):
    layer = with_random_weights(FiLM(3, conditioning="text"), features, presence)
    image, text = (np.asarray(layer.projections[n](features[n])) for n in ("image", "text"))
    kernel, bias = layer.scales["image"].get_weights()
    expected = (1 + features["text"] @ kernel + bias) * image + text
    np.testing.assert_allclose(layer(features, presence), expected, rtol=1e-5, atol=1e-5)
    no_text = {**presence, "text": 0 * presence["text"]}
    np.testing.assert_allclose(layer(features, no_text), image, atol=1e-6)
    no_image = {**presence, "image": 0 * presence["image"]}
    np.testing.assert_allclose(layer(features, no_image), text, atol=1e-6)


def test_film_is_conditioned_by_the_last_modality_or_by_the_one_named(features, presence):
    for conditioning, scaled in ((None, "image"), ("text", "image"), ("image", "text")):
        layer = FiLM(3, conditioning=conditioning)
        layer(features, presence)
        assert list(layer.scales) == [scaled]
    with pytest.raises(ValueError, match=r"`conditioning`: one of .*\['image', 'text'\].*'sound'"):
        FiLM(3, conditioning="sound")(features, presence)
