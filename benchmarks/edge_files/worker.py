"""Runs one model file for the benchmark, in a process that holds nothing but its runtime.

`rounds.py` starts this file as a script: so each runtime has threads and
memory of its own, and only what is measured is imported. It takes orders from standard input and
gives answers on standard output, one line of JSON each.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Row = Mapping[str, np.ndarray]
Run = Callable[[Row], np.ndarray]


def start_litert(num_threads: int) -> Callable[[str], Run]:
    """Imports the LiteRT interpreter; what it gives loads a `.tflite` file."""
    from ai_edge_litert.interpreter import Interpreter

    def load(file):
        interpreter = Interpreter(model_path=file, num_threads=num_threads)
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner("serving_default")
        # Interpreters reorder inputs, so names and not positions find the tensors.
        indices = {name: about["index"] for name, about in runner.get_input_details().items()}
        (output,) = (about["index"] for about in runner.get_output_details().values())

        def run(row):
            for name, index in indices.items():
                interpreter.set_tensor(index, row[name])
            interpreter.invoke()
            return interpreter.get_tensor(output)

        return run

    return load


def start_onnxruntime(num_threads: int) -> Callable[[str], Run]:
    """Imports ONNX Runtime; what it gives loads an `.onnx` file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1

    def load(file):
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        names = [tensor.name for tensor in session.get_inputs()]
        return lambda row: session.run(None, {name: row[name] for name in names})[0]

    return load


def start_tensorflow(num_threads: int) -> Callable[[str], Run]:
    """Imports TensorFlow; what it gives loads a SavedModel."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.function(tf.identity)(tf.zeros([1]))  # starts what TensorFlow needs for any model

    def load(file):
        signature = tf.saved_model.load(file).signatures["serving_default"]
        names = list(signature.structured_input_signature[1])
        (output,) = signature.structured_outputs

        def run(row):
            return signature(**{name: tf.constant(row[name]) for name in names})[output].numpy()

        run.model = signature  # which goes with the last who knows it
        return run

    return load


RUNTIMES = {
    "litert": start_litert,
    "onnxruntime": start_onnxruntime,
    "tensorflow": start_tensorflow,
}


def time_calls(run: Run, rows: Sequence[Row], num_calls: int) -> list[int]:
    """Calls on the rows in turn: nanoseconds of each call, after a tenth as many unmeasured."""
    for index in range(max(1, num_calls // 10)):
        run(rows[index % len(rows)])
    times = []
    for index in range(num_calls):
        start = time.perf_counter_ns()
        run(rows[index % len(rows)])
        times.append(time.perf_counter_ns() - start)
    return times


def peak_memory_mib(*, since_now: bool = False) -> float:
    """Largest resident memory of this process so far; `since_now` forgets what was before."""
    try:
        if since_now:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        with open("/proc/self/status") as file:
            found = dict(line.split(":", 1) for line in file)
        return int(found["VmHWM"].split()[0]) / 2**10
    except (OSError, KeyError):  # no Linux
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)


def read_rows(file: str) -> dict[str, list[Row]]:
    """Reads examples: by case, a list of examples with a first axis of 1."""
    cases = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            case, name = key.split("/")
            values = arrays[key]
            rows = cases.setdefault(case, [{} for _ in values])
            for index, row in enumerate(rows):
                row[name] = np.ascontiguousarray(values[index : index + 1])
    return cases


def main() -> None:
    """Loads the file that the command line names and does what the parent asks for."""
    runtime, num_threads, file, examples = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # runtimes chatter on standard output

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    cases = read_rows(examples)
    try:
        load = RUNTIMES[runtime](int(num_threads))
        before = peak_memory_mib(since_now=True)
        run = load(file)
        for rows in cases.values():
            for row in rows:
                run(row)
        answer({"peak_memory_mib": peak_memory_mib() - before})
    except Exception as error:  # runtimes have all sorts
        answer({"refused": f"{type(error).__name__}: {error}"})
        return
    for line in sys.stdin:
        order, case, num_calls = json.loads(line)
        if order == "time":
            answer(time_calls(run, cases[case], num_calls))
        else:
            answer([run(row)[0].tolist() for row in cases[case]])


if __name__ == "__main__":
    main()
