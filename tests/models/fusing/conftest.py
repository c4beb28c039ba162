import numpy as np
import pytest

BATCH = 5


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
