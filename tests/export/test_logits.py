import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf.export.logits import check_logits, keras_logits


def test_logits_come_in_order():
    series = keras.Input([4], name="series")
    model = keras.Model(series, layers.Dense(3)(series))
    values = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    kernel, bias = model.get_weights()
    found = keras_logits(model, {"series": values})
    np.testing.assert_allclose(found, values @ kernel + bias, atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([[0.2, np.nan]], "NaN or infinity in Keras itself on some examples"),
        ([[np.inf, 0.0]], "NaN or infinity in Keras itself on some examples"),
        ([[0.2, 0.8], [1.0, 0.0]], "rows that sum to 1, as after a softmax"),
    ],
)
def test_unfit_values_are_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        check_logits(np.array(logits), case="some examples")


def test_logits_pass():
    check_logits(np.array([[0.2, 0.8], [1.5, 0.0]]), case="some examples")
    check_logits(np.array([[1.2, -0.2]]), case="some examples")
