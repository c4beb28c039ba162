"""Says which operators and layers keep a model from being converted, and what else there is."""

import re
from collections.abc import Iterable, Iterator

import keras

_LOG_TAIL = 1500

# By what the names of operators hold, what can be done without them.
_CHOICES = {
    "String|Regex|Unicode|Ragged": (
        "Texts become token ids before the model: build it on an input of ids, as "
        "mmkd_tf.modalities.text.Text gives them, and leave TextVectorization and Hashing out."
    ),
    "LookupTable": (
        "Tables are looked up before the model, or in it with an Embedding of consecutive ids."
    ),
    "Bincount": "Instead of CategoryEncoding, add up rows of an Embedding or keras.ops.one_hot.",
    "TensorList|TensorArray": (
        "Give recurrent layers sequences whose length is known when the model is built."
    ),
}
_OTHER_CHOICE = "Replace these layers, or write them with other operations of keras.ops."


def explain(model: keras.Model, function, text: str) -> str:
    """Makes an error message.

    Args:
        model: The model.
        function: The concrete function that was to be converted.
        text: All that the converter said.
    """
    operators = set(re.findall(r"'tf\.(\w+)' op", text))
    for line in re.findall(r"(?:Flex|Custom) ops: (.+)", text):
        operators |= {name.strip().removeprefix("Flex") for name in line.split(",")}
    operators.discard("Placeholder")  # an input, of a type that only such operators take
    if not operators:
        return (
            "`model`: layers that TFLite can run. Received: one that the converter refuses. "
            f"Its last words: {text.strip()[-_LOG_TAIL:]}"
        )
    layers = _layers_of(model, (scope for scope, node in _nodes(function) if node.op in operators))
    where = f" in the layers {layers}" if layers else ""
    choices = [
        choice
        for pattern, choice in _CHOICES.items()
        if any(re.search(pattern, operator) for operator in operators)
    ]
    return (
        "`model`: operators that TFLite has itself; others (Flex, custom) are missing on devices. "
        f"Received: {', '.join(sorted(operators))}{where}. {' '.join(choices) or _OTHER_CHOICE}"
    )


def _nodes(function) -> Iterator[tuple[str, object]]:
    """Gives the nodes of a graph and of the functions in it, with the scope of each."""
    graph = function.graph.as_graph_def()
    yield from ((node.name, node) for node in graph.node)
    for body in graph.library.function:  # loops are functions, named after their scope
        yield from ((body.signature.name, node) for node in body.node_def)


def _layers_of(model: keras.Model, scopes: Iterable[str]) -> list[str]:
    """Finds the layers that scopes belong to."""
    names = {layer.name for layer in model._flatten_layers(include_self=False)}
    found = set()
    for scope in scopes:
        parts = [n for n in names if re.search(rf"(^|[/_]){re.escape(n)}([/_]|$)", scope)]
        # The name of one layer may be a part of another's, such as `lstm` of `lstm_1`.
        found |= {n for n in parts if not any(n in other and n != other for other in parts)}
    return sorted(found)
