import numpy as np
import pytest

from mmkd_tf.models import Attention, GatedMultimodalUnit, WeightedSum


def test_weighted_sum_by_hand(features, presence):
    layer = WeightedSum(fused_dim=3)
    layer(features, presence)
    layer.scores.assign([np.log(3.0), 0.0])
    tokens = {name: np.asarray(layer.projections[name](features[name])) for name in features}
    expected = 0.75 * tokens["image"] + 0.25 * tokens["text"]
    np.testing.assert_allclose(layer(features, presence), expected, atol=1e-6)


def test_attention_weights_differ_by_example(features, presence):
    layer = Attention(fused_dim=3, seed=0)
    fused = np.asarray(layer(features, presence))
    tokens = {name: np.asarray(layer.projections[name](features[name])) for name in features}
    weights = (fused - tokens["text"]) / (tokens["image"] - tokens["text"])
    np.testing.assert_allclose(weights, weights[:, :1].repeat(3, 1), atol=1e-3)
    assert weights[:, 0].std() > 1e-3
    assert (0 < weights).all() and (weights < 1).all()


def test_weighted_sum_by_example_by_hand(features, presence, with_random_weights):
    layer = with_random_weights(WeightedSum(3, by_example=True), features, presence)
    both = np.concatenate([features["image"], features["text"]], axis=1)
    scores = np.asarray(layer.scores) + both @ np.asarray(layer.gate.kernel)
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(layer.modality_weights(features, presence), weights, atol=1e-6)
    assert weights[:, 0].std() > 0.05
    tokens = {name: np.asarray(layer.projections[name](features[name])) for name in features}
    expected = weights[:, :1] * tokens["image"] + weights[:, 1:] * tokens["text"]
    np.testing.assert_allclose(layer(features, presence), expected, atol=1e-6)


def test_gated_unit_of_two_modalities_is_as_published(features, presence, with_random_weights):
    layer = with_random_weights(GatedMultimodalUnit(3), features, presence)
    both = np.concatenate([features["image"], features["text"]], axis=1)
    to_image, to_text = np.split(np.asarray(layer.gate.kernel), 2, axis=1)
    z = 1 / (1 + np.exp(-both @ (to_image - to_text)))
    hidden = {}
    for name in features:
        kernel, bias = layer.projections[name].get_weights()
        hidden[name] = np.tanh(features[name] @ kernel + bias)
    expected = z * hidden["image"] + (1 - z) * hidden["text"]
    np.testing.assert_allclose(layer(features, presence), expected, atol=1e-6)
    weights = layer.modality_weights(features, presence)
    np.testing.assert_allclose(np.asarray(weights)[:, 0], z.mean(axis=1), atol=1e-6)


def test_widths_are_checked_at_once():
    with pytest.raises(ValueError, match="`fused_dim`: an integer of 1 or more. Received.*=0"):
        WeightedSum(0)
