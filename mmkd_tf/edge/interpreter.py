"""Runs the tensors of examples through a TFLite file, with inputs bound by name."""

import os
import threading
from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np

# The interpreter is imported where it is needed: importing mmkd_tf.edge must be quick.

SIGNATURE = "serving_default"
OUTPUTS = ("probabilities", "values", "embedding")  # what an output may be called
ANY_SIZE = -1
MOST_BYTES = 2**30  # that a model may take for its tensors, of one example or its own batch


@contextmanager
def _without_native_lines():
    """Keeps out what C++ says when a model is opened, where TensorFlow's level asks for that."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        yield
        return
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


class TensorRunner:
    """A TFLite model: examples in tensor form to probabilities, values or embeddings.

    Several threads may call one object; they wait for each other.

    Args:
        content: The whole file.
        num_threads: Number of threads that the interpreter may use.

    Attributes:
        inputs: By input name, shape and dtype. The first size is the number of examples that the
            file takes at a time, -1 for any.
        batch_size: That first size.
        output: Name of what it gives, one of `OUTPUTS`.
        num_classes: Number of probabilities or values, width of embeddings.

    Raises:
        ImportError: If no interpreter is installed.
        ValueError: If the interpreter refuses the file, it is damaged, asks for more than 1 GiB or
            for what can't be told, or lacks the expected signature.
    """

    def __init__(self, content: bytes, *, num_threads: int = 1):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(
                "Running a .tflite file needs the LiteRT interpreter: pip install ai-edge-litert"
            ) from error
        self._memory, self._bytes = _checked_memory(content)
        self._lock = threading.Lock()
        try:
            with _without_native_lines():
                self._interpreter = Interpreter(model_content=content, num_threads=num_threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                "`content`: a TFLite model of builtin operators. Received: one that this "
                f"interpreter refuses ({error}). Update it: pip install -U ai-edge-litert"
            ) from error
        signatures = self._interpreter.get_signature_list()
        outputs = signatures.get(SIGNATURE, {}).get("outputs", ())
        known = [name for name in OUTPUTS if name in outputs]
        if not known:
            names = "' or '".join(OUTPUTS)
            raise ValueError(
                f"`content`: a TFLite model with a signature '{SIGNATURE}' that gives '{names}'. "
                f"Received: {signatures or 'no signatures'}. Export it with mmkd_tf.export."
            )
        runner = self._interpreter.get_signature_runner(SIGNATURE)
        # Interpreters reorder inputs, so names and not positions find the tensors.
        details = runner.get_input_details()
        self._indices = {name: detail["index"] for name, detail in details.items()}
        self.inputs = {
            name: (tuple(map(int, _signature(detail))), np.dtype(detail["dtype"]))
            for name, detail in details.items()
        }
        sizes = {shape[0] for shape, _ in self.inputs.values() if shape}
        if len(sizes) != 1 or not all(shape for shape, _ in self.inputs.values()):
            raise ValueError(
                "`content`: a TFLite model whose inputs all begin with the batch. "
                f"Received: {self.inputs}. Export it with mmkd_tf.export."
            )
        (self.batch_size,) = sizes
        self._allocated = None if self.batch_size == ANY_SIZE else self.batch_size
        self.output = known[0]
        output = runner.get_output_details()[self.output]
        self._output = output["index"]
        self.num_classes = int(output["shape"][-1])

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Runs examples: all at once, or divided into the file's batches, the last one filled up.

        Args:
            tensors: By input name, `[n, ...]` of the shape and dtype that `inputs` says, with one
                example or more.

        Returns:
            float32 `[n, num_classes]`.

        Raises:
            ValueError: If the tensors don't fit; lists all that is wrong.
            RuntimeError: If the model fails on them, such as on a token id that it lacks.
        """
        problems = self._problems(tensors)
        if problems:
            raise ValueError("\n".join(problems))
        num_examples = len(tensors[next(iter(self._indices))])
        size = self.batch_size if self.batch_size != ANY_SIZE else num_examples
        if num_examples == size:
            return self._run(tensors, size)
        parts = []
        for start in range(0, num_examples, size):
            rows = {name: tensors[name][start : start + size] for name in self._indices}
            missing = start + size - num_examples
            if missing > 0:
                rows = {
                    name: np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))
                    for name, values in rows.items()
                }
            parts.append(self._run(rows, size))
        return np.concatenate(parts)[:num_examples]

    def _run(self, tensors, size):
        # From the inputs' values to the answer: another thread's would stand between them.
        with self._lock:
            if size != self._allocated:
                self._check_growth(size)
                for name, index in self._indices.items():
                    self._interpreter.resize_tensor_input(index, tensors[name].shape)
                self._interpreter.allocate_tensors()
                self._allocated = size
            for name, index in self._indices.items():
                self._interpreter.set_tensor(index, tensors[name])
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)

    def _check_growth(self, size):
        """Refuses what takes more for each example the more there are, beyond what one may take."""
        if size > 1 and (asked := self._memory.needed(size)) > max(MOST_BYTES, size * self._bytes):
            raise ValueError(
                f"`tensors`: fewer examples at a time. Received: {size}, for which the model asks "
                f"for {asked:,} bytes, where one takes {self._bytes:,}. Give one at a time."
            )

    def _problems(self, tensors):
        problems, sizes = [], set()
        for name, (shape, dtype) in self.inputs.items():
            given = tensors.get(name)
            sizes.add(None if given is None or not given.ndim else len(given))
            if given is None or given.shape[1:] != shape[1:] or given.dtype != dtype:
                what = "nothing" if given is None else f"{given.dtype} {list(given.shape)}"
                problems.append(
                    f"`tensors`: for '{name}', {dtype} {['n', *shape[1:]]}. Received: {what}."
                )
        if not problems and (len(sizes) != 1 or sizes & {0, None}):
            problems.append(
                "`tensors`: one example or more, equally many for each input. Received: "
                f"{ {name: list(tensors[name].shape) for name in self.inputs} }."
            )
        return problems


def _checked_memory(content: bytes):
    """Refuses what asks for more than a model of ours: a file of some bytes can claim billions."""
    from mmkd_tf.edge.memory import ModelMemory
    from mmkd_tf.edge.operator_shapes import UnknownSizeError

    try:
        memory = ModelMemory(content)
        asked = memory.needed()
    except UnknownSizeError as error:
        raise ValueError(
            "`content`: a TFLite model whose tensors have sizes that can be told before it runs. "
            f"Received: one with {error}. Trust no file of unknown origin."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"`content`: a whole TFLite model. Received: one that is cut off or damaged ({error}). "
            "Copy or export it again."
        ) from error
    if asked > MOST_BYTES:
        raise ValueError(
            f"`content`: a TFLite model that takes at most {MOST_BYTES:,} bytes at a time. "
            f"Received: one that asks for {asked:,}. Export it for smaller inputs or a smaller "
            "batch, and trust no file of unknown origin."
        )
    return memory, asked


def _signature(detail):
    """An open size is -1 here, and 1 in `shape`."""
    signature = detail["shape_signature"]
    return signature if len(signature) else detail["shape"]
