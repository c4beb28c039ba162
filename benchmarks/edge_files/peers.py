"""Exports a model in the ways that others offer, to measure them beside this project's."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from edge_files.rounds import ModelFile
from keras import layers

from mmkd_tf.models.inputs import input_structure

KERAS_STATIC = "Keras LiteRT, batch of 1"
KERAS_DYNAMIC = "Keras LiteRT, any batch"
ONNX_LSTM = "ONNX Runtime, LSTM operator"
ONNX_KERAS = "ONNX Runtime, Keras' export"
SAVED_MODEL = "SavedModel, Keras' export"

_LSTM_OUTPUT = "lstm_output"
_ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")


def export_peers(
    model: keras.Model, inputs: Mapping[str, np.ndarray], folder: Path
) -> tuple[list[ModelFile], dict[str, str]]:
    """Writes the model in each way that works here.

    All get a batch of one to compute, and files whose batch is fixed know it: that is their
    best case.

    Args:
        model: Functional model.
        inputs: By input name, an array whose sizes after the first the files take.
        folder: Where they go.

    Returns:
        The files, and by name of those that there are not, why: the pip line that gets a missing
        package, or what stood in the way.
    """
    specs = [_spec(tensor, inputs[tensor.name], batch=1) for tensor in model.inputs]
    open_specs = [_spec(tensor, inputs[tensor.name], batch=None) for tensor in model.inputs]

    def by_keras(form: str, specs: Sequence[keras.InputSpec]) -> Callable[[Path], None]:
        structure = keras.tree.pack_sequence_as(input_structure(model), specs)
        return lambda path: model.export(
            path, format=form, input_signature=[structure], verbose=False
        )

    ways = [
        (KERAS_STATIC, "keras_static.tflite", "litert", by_keras("litert", specs)),
        (KERAS_DYNAMIC, "keras_dynamic.tflite", "litert", by_keras("litert", open_specs)),
        (
            ONNX_LSTM,
            "lstm_operator.onnx",
            "onnxruntime",
            lambda path: export_onnx_with_lstm(model, path, specs=specs),
        ),
        (ONNX_KERAS, "keras.onnx", "onnxruntime", by_keras("onnx", specs)),
        (SAVED_MODEL, "saved_model", "tensorflow", by_keras("tf_saved_model", open_specs)),
    ]
    files, absent = [], {}
    for name, file_name, runtime, export in ways:
        packages = _ONNX_PACKAGES if runtime == "onnxruntime" else ()
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            absent[name] = f"not installed; get it with: pip install {' '.join(missing)}"
            continue
        try:
            with _quiet():
                export(folder / file_name)
        except Exception as error:  # a peer that can't do this model is a result, not a failure
            absent[name] = f"its export failed: {type(error).__name__}: {error}"
        else:
            files.append(ModelFile(name, folder / file_name, runtime))
    return files, absent


def _spec(tensor, values, *, batch):
    return keras.InputSpec(shape=(batch, *values.shape[1:]), dtype=tensor.dtype, name=tensor.name)


@contextmanager
def _quiet():
    """Without the chatter of converters."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def export_onnx_with_lstm(
    model: keras.Model, path: Path, *, specs: Sequence[keras.InputSpec]
) -> None:
    """Writes a model with a text LSTM as ONNX with the LSTM operator: ONNX Runtime at its best.

    Keras' own ONNX export writes an LSTM as a loop over its steps. So everything but the LSTM is
    exported with Keras, and the operator set in its place. It is told how many words a text has,
    so that its time follows the text's length.

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
    place = keras.InputSpec(
        shape=(specs[0].shape[0], lstm.units), dtype="float32", name=_LSTM_OUTPUT
    )
    rest.export(path, format="onnx", input_signature=[[*specs, place]], verbose=False)
    exported = onnx.load(path)
    graph = exported.graph
    (spare,) = (tensor for tensor in graph.input if tensor.name == _LSTM_OUTPUT)
    graph.input.remove(spare)
    nodes, constants = _lstm_nodes(lstm, embedding)
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


def _lstm_nodes(lstm, embedding):
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
        helper.make_node("Squeeze", ["lstm_last", "lstm_first_axis"], [_LSTM_OUTPUT]),
    ]
    return nodes, constants
