"""Writes a model with a text LSTM as ONNX with the LSTM operator, for comparison.

Keras' own ONNX export writes an LSTM as a loop over its steps; this is what ONNX Runtime can do
at its best.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers

_PLACE = "lstm_output"


def export_onnx_with_lstm(
    model: keras.Model, path: Path, *, specs: Sequence[keras.InputSpec]
) -> None:
    """Exports everything but the LSTM with Keras and sets the operator in its place.

    The operator is told how many words a text has, so that its time follows the text's length.

    Args:
        model: Functional model with one LSTM that gives its last output and reads an Embedding
            of one of the model's inputs.
        path: The file to write.
        specs: Shape, dtype and name of each of `model.inputs`, in that order.

    Raises:
        ImportError: If `onnx` or `tf2onnx` is missing.
        NotImplementedError: If the model has another form.
    """
    import onnx

    lstm, embedding = _find_layers(model)
    # The model from the LSTM's output on, which becomes one more input.
    rest = keras.Model([*model.inputs, lstm.output], model.outputs)
    place = keras.InputSpec(shape=(specs[0].shape[0], lstm.units), dtype="float32", name=_PLACE)
    rest.export(path, format="onnx", input_signature=[[*specs, place]], verbose=False)
    exported = onnx.load(path)
    graph = exported.graph
    (spare,) = (tensor for tensor in graph.input if tensor.name == _PLACE)
    graph.input.remove(spare)
    nodes, constants = _text_branch(lstm, embedding)
    for index, node in enumerate(nodes):
        graph.node.insert(index, node)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in constants.items()
    )
    onnx.checker.check_model(exported)
    onnx.save(exported, path)


def _find_layers(model):
    found = [layer for layer in model.layers if isinstance(layer, layers.RNN)]
    lstm = found[0] if len(found) == 1 and type(found[0]) is layers.LSTM else None
    if lstm is None or lstm.return_sequences or lstm.return_state or lstm.go_backwards:
        raise NotImplementedError("It is made for models with one LSTM that gives its last output.")
    activations = (lstm.activation, lstm.recurrent_activation)
    if activations != (keras.activations.tanh, keras.activations.sigmoid):
        raise NotImplementedError("It is made for an LSTM with the usual activations.")
    before = _layer_before(lstm)
    while isinstance(before, layers.Dropout):  # does nothing at inference
        before = _layer_before(before)
    if not isinstance(before, layers.Embedding) or not _is_input(model, before.input):
        raise NotImplementedError("It is made for an LSTM that reads an Embedding of an input.")
    return lstm, before


def _layer_before(layer):
    return keras.tree.flatten(layer.input)[0]._keras_history.operation


def _is_input(model, tensor):
    return any(tensor is one for one in model.inputs)


def _text_branch(lstm, embedding):
    """Nodes from token ids `[batch, steps]` to the last output, and their constants."""
    from onnx import TensorProto, helper

    def gates(values):
        """Keras' order of the gates, input, forget, candidate, output, becomes ONNX's."""
        write, forget, candidate, read = np.split(np.asarray(values), 4, axis=-1)
        return np.concatenate([write, read, forget, candidate], axis=-1)

    text, dtype = embedding.input.name, embedding.input.dtype
    bias = lstm.cell.bias if lstm.cell.use_bias else np.zeros(4 * lstm.units, np.float32)
    constants = {
        "lstm_table": np.asarray(embedding.embeddings),
        "lstm_kernel": gates(lstm.cell.kernel).T[np.newaxis],
        "lstm_recurrent_kernel": gates(lstm.cell.recurrent_kernel).T[np.newaxis],
        "lstm_bias": np.concatenate([gates(bias), np.zeros(4 * lstm.units, np.float32)])[None],
        "lstm_first_axis": np.array([0]),
    }
    nodes = [
        helper.make_node("Transpose", [text], ["lstm_ids"], perm=[1, 0]),
        helper.make_node("Gather", ["lstm_table", "lstm_ids"], ["lstm_vectors"]),
    ]
    num_words = ""
    if embedding.mask_zero:
        num_words = "lstm_num_words"
        constants |= {"lstm_padding": np.array(0, dtype), "lstm_last_axis": np.array([1])}
        nodes += [
            helper.make_node("Equal", [text, "lstm_padding"], ["lstm_is_padding"]),
            helper.make_node("Not", ["lstm_is_padding"], ["lstm_is_word"]),
            helper.make_node("Cast", ["lstm_is_word"], ["lstm_ones"], to=TensorProto.INT32),
            helper.make_node("ReduceSum", ["lstm_ones", "lstm_last_axis"], [num_words], keepdims=0),
        ]
    weights = ["lstm_kernel", "lstm_recurrent_kernel", "lstm_bias"]
    nodes += [
        helper.make_node(
            "LSTM",
            ["lstm_vectors", *weights, num_words],
            ["", "lstm_last"],
            hidden_size=lstm.units,
        ),
        helper.make_node("Squeeze", ["lstm_last", "lstm_first_axis"], [_PLACE]),
    ]
    return nodes, constants
