"""Counts the operators that a model file uses."""

from collections import Counter
from pathlib import Path

# They bring values or names into a graph and compute nothing.
_NO_WORK = {"Const", "Constant", "Placeholder", "Identity", "NoOp", "ReadVariableOp"}


def count_operators(path: Path) -> dict[str, int]:
    """Counts operators, those in the bodies of loops and branches once each.

    Args:
        path: A `.tflite` file, an `.onnx` file or the folder of a SavedModel, whose signature
            `serving_default` counts.

    Returns:
        By operator how often it occurs, frequent ones first. Constants and the like are left out.
        Operators of a `.tflite` file that are not built into LiteRT have names of their own, such
        as `FlexTensorListReserve`, others are in capitals.

    Raises:
        ImportError: If the package that reads the file is missing.
    """
    read = {".tflite": _in_tflite, ".onnx": _in_onnx}.get(path.suffix, _in_saved_model)
    found = Counter(name for name in read(path) if name not in _NO_WORK)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _in_tflite(path):
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(subgraph.Operators, range(subgraph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            # Numbers above 127 are only in the newer of the two fields.
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            custom = code.CustomCode()
            yield custom.decode() if custom else names[number]


def _in_onnx(path):
    import onnx

    def walk(graph):
        for node in graph.node:
            yield node.op_type
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    yield from walk(attribute.g)

    return walk(onnx.load(path).graph)


def _in_saved_model(path):
    import tensorflow as tf

    graph = tf.saved_model.load(str(path)).signatures["serving_default"].graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return (node.op for nodes in bodies for node in nodes)
