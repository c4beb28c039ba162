import numpy as np
import pytest

from mmkd_tf.models import CrossAttention


def softmax(scores, there):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True)) * there
    return powers / powers.sum(axis=-1, keepdims=True)


def affine(layer, values):
    kernel, *bias = layer.get_weights()
    return values @ kernel + (bias[0] if bias else 0)


def normalised(layer, values):
    scale, shift = layer.get_weights()
    centred = values - values.mean(axis=-1, keepdims=True)
    return scale * centred / np.sqrt(values.var(axis=-1, keepdims=True) + 1e-3) + shift


@pytest.fixture
def tokens():
    rng = np.random.default_rng(2)
    features = {"image": rng.normal(size=[2, 3, 5]), "text": rng.normal(size=[2, 4, 6])}
    there = {"image": np.ones([2, 1]), "text": np.array([[1, 1, 1, 0], [1, 0, 1, 1]])}
    return [{n: v.astype("float32") for n, v in values.items()} for values in (features, there)]


def test_by_hand(tokens, with_random_weights):
    features, presence = tokens
    layer = with_random_weights(CrossAttention(4, num_heads=2), features, presence)
    there = {"image": np.ones([2, 3]), "text": presence["text"]}
    x = {
        name: affine(layer.projections[name], features[name]) + np.asarray(layer.positions[name])
        for name in features
    }
    normal = {name: normalised(layer.attention_norm, x[name]) for name in x}
    for name, other in (("image", "text"), ("text", "image")):
        query = affine(layer.query, normal[name])
        key, value = affine(layer.key, normal[other]), affine(layer.value, normal[other])
        heads = []
        for head in (slice(0, 2), slice(2, 4)):
            scores = query[..., head] @ key[..., head].transpose(0, 2, 1) / np.sqrt(2)
            heads.append(softmax(scores, there[other][:, None]) @ value[..., head])
        x[name] = x[name] + affine(layer.answer, np.concatenate(heads, axis=-1))
        hidden = affine(layer.mlp_hidden, normalised(layer.mlp_norm, x[name]))
        x[name] = x[name] + affine(layer.mlp, np.maximum(hidden, 0))
    joined = np.concatenate([x["image"], x["text"]], axis=1)
    scores = affine(layer.score, normalised(layer.score_norm, joined))[..., 0]
    weights = softmax(scores, np.concatenate([there["image"], there["text"]], axis=1))
    np.testing.assert_allclose(
        layer(features, presence), (weights[..., None] * joined).sum(axis=1), rtol=1e-4, atol=1e-5
    )
    by_modality = np.stack([weights[:, :3].sum(axis=1), weights[:, 3:].sum(axis=1)], axis=1)
    np.testing.assert_allclose(layer.modality_weights(features, presence), by_modality, atol=1e-5)


def test_a_vector_is_one_token(tokens, with_random_weights):
    features, presence = tokens
    first = {name: values[:, :1] for name, values in features.items()}
    there = {name: values[:, :1] for name, values in presence.items()}
    layer = with_random_weights(CrossAttention(4, num_heads=2), first, there)
    vectors = {name: values[:, 0] for name, values in first.items()}
    other = with_random_weights(CrossAttention(4, num_heads=2), vectors, there)
    np.testing.assert_array_equal(layer(first, there), other(vectors, there))


def test_heads_share_the_width_evenly():
    with pytest.raises(ValueError, match="`fused_dim`: a multiple of `num_heads`. Received: .*=3"):
        CrossAttention(8, num_heads=3)
