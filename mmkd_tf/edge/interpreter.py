"""Runs the tensors of one example through a TFLite file, with inputs bound by name."""

from collections.abc import Mapping

import numpy as np

# The interpreter is imported where it is needed: importing mmkd_tf.edge must be quick.

SIGNATURE = "serving_default"
OUTPUT = "probabilities"


class TensorRunner:
    """A TFLite model that takes one example in tensor form and gives probabilities.

    Args:
        content: The whole file.
        num_threads: Number of threads that the interpreter may use.

    Attributes:
        inputs: By input name, shape (the first axis is 1) and dtype.
        num_classes: Number of probabilities.

    Raises:
        ImportError: If no interpreter is installed.
        ValueError: If the interpreter refuses the file, or it lacks the expected signature.
    """

    def __init__(self, content: bytes, *, num_threads: int = 1):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(
                "Running a .tflite file needs the LiteRT interpreter: pip install ai-edge-litert"
            ) from error
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=num_threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                "`content`: a TFLite model of builtin operators. Received: one that this "
                f"interpreter refuses ({error}). Update it: pip install -U ai-edge-litert"
            ) from error
        signatures = self._interpreter.get_signature_list()
        if OUTPUT not in signatures.get(SIGNATURE, {}).get("outputs", ()):
            raise ValueError(
                f"`content`: a TFLite model with a signature '{SIGNATURE}' that gives '{OUTPUT}'. "
                f"Received: {signatures or 'no signatures'}. Export it with mmkd_tf.export."
            )
        runner = self._interpreter.get_signature_runner(SIGNATURE)
        # Interpreters reorder inputs, so names and not positions find the tensors.
        details = runner.get_input_details()
        self._indices = {name: detail["index"] for name, detail in details.items()}
        self.inputs = {
            name: (tuple(map(int, detail["shape"])), np.dtype(detail["dtype"]))
            for name, detail in details.items()
        }
        output = runner.get_output_details()[OUTPUT]
        self._output = output["index"]
        self.num_classes = int(output["shape"][-1])

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Runs one example.

        Args:
            tensors: By input name, the shape and dtype that `inputs` says.

        Returns:
            float32 `[num_classes]`, 0 to 1.
        """
        for name, index in self._indices.items():
            self._interpreter.set_tensor(index, tensors[name])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)[0]
