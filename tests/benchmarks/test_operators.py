import keras
import pytest
import tensorflow as tf
from edge_files.results import count_operators


def test_operators_of_a_tflite_file_are_counted_in_all_subgraphs(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
    def run(x):
        body = [lambda i, y: (i + 1, y * y * 2.0)]
        return tf.while_loop(lambda i, y: y[0] < 9.0, body[0], [0, x * 3.0])[1]

    path = tmp_path / "a.tflite"
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], tf.Module()
    )
    path.write_bytes(converter.convert())
    found = count_operators(path)
    assert found["MUL"] == 3 and found["WHILE"] == 1 and found["LESS"] == 1
    assert list(found)[0] == "MUL"  # frequent ones first


def test_flex_operators_have_their_own_names(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
    def run(x):
        return tf.tan(x)

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], tf.Module()
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.SELECT_TF_OPS]
    path = tmp_path / "a.tflite"
    path.write_bytes(converter.convert())
    assert count_operators(path)["FlexTan"] == 1


def test_operators_of_a_saved_model(tmp_path):
    inputs = keras.Input([4], name="x")
    model = keras.Model(inputs, keras.layers.Dense(2, activation="tanh")(inputs))
    model.export(tmp_path / "saved", verbose=False)
    found = count_operators(tmp_path / "saved")
    assert found["MatMul"] == 1 and found["Tanh"] == 1 and "Const" not in found


def test_operators_of_an_onnx_file_are_counted_in_loops_too(tmp_path):
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    from onnx import TensorProto, helper

    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [
            helper.make_node("Tanh", ["y"], ["z"]),
            helper.make_node("Tanh", ["z"], ["out"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("y", TensorProto.FLOAT, [2]),
        ],
        [value("on", TensorProto.BOOL, []), value("out", TensorProto.FLOAT, [2])],
    )
    nodes = [
        helper.make_node("Tanh", ["x"], ["first"]),
        helper.make_node("Loop", ["n", "", "first"], ["last"], body=body),
    ]
    inputs = [value("x", TensorProto.FLOAT, [2]), value("n", TensorProto.INT64, [])]
    graph = helper.make_graph(nodes, "g", inputs, [value("last", TensorProto.FLOAT, [2])])
    onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
    assert count_operators(tmp_path / "a.onnx") == {"Tanh": 3, "Loop": 1}
