import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.export.lowering.recurrent_cells import split_cell

CELLS = {
    "lstm": (lambda: layers.LSTMCell(4), [4, 4], 3 * 16, 4 * 16),
    "lstm without bias": (lambda: layers.LSTMCell(4, use_bias=False), [4, 4], 3 * 16, 4 * 16),
    "gru": (lambda: layers.GRUCell(4), [4], 3 * 12, 4 * 12),
    "gru, reset before": (lambda: layers.GRUCell(4, reset_after=False), [4], 3 * 12, 4 * 12),
    "simple": (lambda: layers.SimpleRNNCell(4, activation=None), [4], 3 * 4, 4 * 4),
    "stacked": (lambda: layers.StackedRNNCells([layers.GRUCell(2)]), [2], 0, None),
}


class Shifted(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training=training)
        return output + 1, states


@pytest.mark.parametrize("kind", [*CELLS, "subclass"])
def test_both_parts_make_the_cell(kind):
    make, sizes, *expected_sizes = CELLS.get(kind, (lambda: Shifted(4), [4, 4], 0, None))
    rng = np.random.default_rng(0)
    cell = make()
    cell.build([2, 3])
    cell.set_weights([rng.normal(size=w.shape) for w in cell.get_weights()])
    inputs = rng.normal(size=[2, 3]).astype("float32")
    states = [tf.constant(rng.normal(size=[2, size]).astype("float32")) for size in sizes]
    output, new_states = cell(inputs, states)
    split = split_cell(cell, states)
    found, found_states = split.step(split.project(tf.constant(inputs)), states)
    np.testing.assert_allclose(found, output, atol=1e-6)
    for state, want in zip(found_states, keras.tree.flatten(new_states), strict=True):
        np.testing.assert_allclose(state, want, atol=1e-6)
    assert [split.projection_size, split.step_size] == expected_sizes
    assert split.gives_state == (split.step_size is not None)
