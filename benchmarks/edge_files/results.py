"""Makes figures and a table of what the benchmark of exported files saw."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from edge_files.ours import FIVE, FULL, OURS, TEXT_BRANCH
from edge_files.peers import KERAS_STATIC, ONNX_KERAS, ONNX_LSTM, SAVED_MODEL
from edge_files.rounds import REAL, THREADS, Measured, ModelFile

from mmkd_tf.export.parity import difference
from mmkd_tf.export.quantization import LEVELS
from mmkd_tf.tasks import DEFAULT_TASK, Task, find_task

# They bring values or names into a graph and compute nothing.
_NO_WORK = {"Const", "Constant", "Placeholder", "Identity", "NoOp", "ReadVariableOp"}
_WIDTH = 100
_HOW = (
    "One example a call, inputs set and output read in Python; each file in a process of its own, "
    "all called in turn in each round. Memory is the growth of a fresh process from the bare "
    "runtime to the file loaded and run. Difference: the largest of a logit from Keras, in nats; "
    "that of quantised files is meant to be. Files are without labels and vocabulary."
)
_MADE = "Real lengths are made here: 1 to 10 words, each as often as another; pictures are noise."
_GIVEN = "Real lengths are those of the examples given."


def describe_files(
    files: Sequence[ModelFile],
    measured: Mapping[str, Measured],
    *,
    logits: np.ndarray,
    task: Task | str = DEFAULT_TASK,
) -> dict[str, dict]:
    """Sums up what was seen of each file that was measured.

    Args:
        files: The files, still there.
        measured: What `measure` gives.
        logits: Keras' logits of the real examples, float32 `[n, num_classes]`.
        task: What the model is for.

    Returns:
        What `benchmark_edge` gives as `files`.
    """
    return {
        file.name: {
            "bytes": file.bytes,
            "peak_memory_mib": measured[file.name].peak_memory_mib,
            "max_abs_logit_difference": None
            if file.name == TEXT_BRANCH
            else _difference(file.name, logits, measured[file.name].outputs, task),
            "operators": count_operators(file.path),
            "latency_ms": {
                str(num_threads): {case: _latency(times) for case, times in cases.items()}
                for num_threads, cases in measured[file.name].times.items()
            },
        }
        for file in files
        if file.name in measured
    }


def describe_refusals(files: Sequence[ModelFile], refused: Mapping[str, str]) -> dict[str, str]:
    """Says by name why a runtime did not run a file; where it is Flex operators, which."""
    reasons = dict(refused)
    for file in files:
        if file.name in refused and file.runtime == "litert":
            flex = [name for name in count_operators(file.path) if name.startswith("Flex")]
            if flex:
                reasons[file.name] = (
                    "a plain LiteRT interpreter refuses it, for it needs Flex operators: "
                    + ", ".join(flex)
                )
    return reasons


def ratios(measured: Mapping[str, Measured]) -> dict[str, dict[str, float]]:
    """Compares with others, and a short text with a long one, where both were measured.

    Args:
        measured: What `measure` gives.

    Returns:
        By claim the `median`, `least` and `greatest` over the rounds of the ratio of the medians
        in a round, one thread.
    """

    def medians(name, case):
        return [float(np.median(times)) for times in measured[name].times[THREADS[0]][case]]

    pairs = {
        f"{OURS} / {peer}": ((OURS, REAL), (peer, REAL))
        for peer in (KERAS_STATIC, ONNX_LSTM, ONNX_KERAS, SAVED_MODEL)
    }
    pairs[f"{TEXT_BRANCH}: {FIVE} / {FULL}"] = ((TEXT_BRANCH, FIVE), (TEXT_BRANCH, FULL))
    found = {}
    for claim, (ours, theirs) in pairs.items():
        if ours[0] in measured and theirs[0] in measured:
            values = [a / b for a, b in zip(medians(*ours), medians(*theirs), strict=True)]
            found[claim] = {
                "median": median(values),
                "least": min(values),
                "greatest": max(values),
            }
    return found


def _latency(times):
    return {"median": float(np.median(times)), "p95": float(np.quantile(times, 0.95))}


def _difference(name: str, logits, outputs, task) -> float:
    """In nats; the files of others give logits, ours what the task makes of them."""
    if name not in LEVELS:
        outputs = np.asarray(find_task(task).activate(outputs.astype(np.float32)))
    found = difference(logits=logits, probabilities=outputs, task=task)
    return found.max_abs_logit_difference


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


def edge_text(measured: Mapping) -> str:
    """Lists sizes, memory, latencies, ratios, operators and what was not measured.

    Args:
        measured: What `benchmark_edge` returns.

    Returns:
        Lines of text.
    """
    files = measured["files"]
    lines = [
        f"{measured['model']}, {measured['parameters']:,} parameters; {measured['num_rounds']} "
        f"rounds of {measured['num_calls']} calls",
        "",
        *_table(("file", "KiB", "memory, MiB", "difference", "operators"), _size_rows(files)),
    ]
    for num_threads in next(iter(files.values()))["latency_ms"]:
        cases = next(iter(files.values()))["latency_ms"][num_threads]
        unit = "thread" if num_threads == "1" else "threads"
        lines += ["", f"microseconds, {num_threads} {unit}: median (95 % of the calls are faster)"]
        lines += _table(("file", *cases), _latency_rows(files, num_threads))
    ratio_rows = [
        (name, f"{r['median']:.3f}", f"{r['least']:.3f}", f"{r['greatest']:.3f}")
        for name, r in measured["ratios"].items()
    ]
    if ratio_rows:
        lines += ["", "one thread, each round's medians divided"]
        lines += _table(("ratio", "median", "least", "greatest"), ratio_rows)
    lines += ["", "operators"]
    for name, file in files.items():
        lines += _wrapped(f"- {name}: {_operators(file['operators'])}")
    if measured["absent"]:
        lines += ["", "not measured"]
        for name, reason in measured["absent"].items():
            lines += _wrapped(f"- {name}: {reason}")
    lines += ["", *textwrap.wrap(f"{_HOW} {_texts(measured)}", _WIDTH)]
    return "\n".join(lines)


def _size_rows(files):
    return [
        (
            name,
            f"{file['bytes'] / 2**10:,.1f}",
            f"{file['peak_memory_mib']:.1f}",
            "-"
            if file["max_abs_logit_difference"] is None
            else f"{file['max_abs_logit_difference']:.1e}",
            f"{sum(file['operators'].values())} of {len(file['operators'])} kinds",
        )
        for name, file in files.items()
    ]


def _latency_rows(files, num_threads):
    return [
        (
            name,
            *(
                f"{1e3 * latency['median']:,.0f} ({1e3 * latency['p95']:,.0f})"
                for latency in file["latency_ms"][num_threads].values()
            ),
        )
        for name, file in files.items()
    ]


def _operators(counts):
    return ", ".join(name if count == 1 else f"{name} {count}" for name, count in counts.items())


def _texts(measured):
    texts = measured["texts"]
    if not texts:
        return ""
    words = [
        f"{case}: {t['least']}"
        if t["least"] == t["greatest"]
        else f"{case}: {t['least']} to {t['greatest']}, mean {t['mean']:.1f}"
        for case, t in texts.items()
    ]
    made = _MADE if measured["made_examples"] else _GIVEN
    return f"Words in a text: {'; '.join(words)}. {made}"


def _wrapped(line):
    return textwrap.wrap(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns cells, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for first, *others in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return lines
