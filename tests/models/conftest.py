import numpy as np
import pytest

from mmkd_tf.models import Concatenation, FiLM

BATCH = 5


def _rows(dims, names):
    """Where the features of these modalities lie in the concatenation of all."""
    ends = np.cumsum([dims[name] for name in sorted(dims)])
    places = dict(zip(sorted(dims), ends, strict=True))
    return np.concatenate([np.arange(places[n] - dims[n], places[n]) for n in sorted(names)])


def _copy_for(names, full, part, dims):
    """Gives `part`, built for some modalities, the weights that `full` has for them."""
    for parts in ("projections", "factors", "scales"):
        for name, layer in getattr(part, parts, {}).items():
            layer.set_weights(getattr(full, parts)[name].get_weights())
    for name, positions in getattr(part, "positions", {}).items():
        positions.assign(full.positions[name])
    places = np.array([sorted(dims).index(name) for name in sorted(names)])
    if hasattr(part, "scores"):
        part.scores.assign(np.asarray(full.scores)[places])
    if hasattr(part, "gate"):
        kernel = np.asarray(full.gate.kernel)
        kernel = kernel.reshape(len(kernel), len(dims), -1)[_rows(dims, names)][:, places]
        part.gate.kernel.assign(kernel.reshape(len(kernel), -1))
    shared = ("hidden", "score", "query", "key", "value", "answer", "mlp_hidden", "mlp")
    for name in (*shared, "attention_norm", "mlp_norm", "score_norm"):
        if hasattr(part, name):
            getattr(part, name).set_weights(getattr(full, name).get_weights())


def _alone(fusion, features, presence, names):
    """What the fusion's weights give where there are no other modalities than these."""
    if isinstance(fusion, FiLM) and fusion.conditioning not in names and len(names) > 1:
        return sum(_alone(fusion, features, presence, [name]) for name in names)
    inputs = [{name: values[name] for name in names} for values in (features, presence)]
    part = type(fusion).from_config(fusion.get_config())
    part(*inputs)
    dims = {name: values.shape[-1] for name, values in features.items()}
    if isinstance(fusion, Concatenation):
        fused = np.zeros([len(next(iter(features.values()))), sum(dims.values())], "float32")
        fused[:, _rows(dims, names)] = part(*inputs)
        return fused
    _copy_for(names, fusion, part, dims)
    return np.asarray(part(*inputs))


@pytest.fixture(scope="session")
def fused_alone():
    return _alone


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(BATCH, 6)).astype("float32"),
        "text": rng.normal(size=(BATCH, 4)).astype("float32"),
    }


@pytest.fixture
def presence():
    return {name: np.ones([BATCH, 1], "float32") for name in ("image", "text")}


@pytest.fixture
def with_random_weights():
    """Builds a fusion and gives it weights that all show, biases too."""

    def build(layer, features, presence):
        layer(features, presence)
        rng = np.random.default_rng(1)
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
        return layer

    return build
