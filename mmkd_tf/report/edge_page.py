"""What the benchmark of exported files measured, as terminal text."""

import textwrap
from collections.abc import Mapping, Sequence

_WIDTH = 100
_HOW = (
    "One example a call, inputs set and output read in Python; each file in a process of its own, "
    "all called in turn in each round. Memory is the growth of a fresh process from the bare "
    "runtime to the file loaded and run. Difference: the largest of a logit from Keras, in nats; "
    "that of quantised files is meant to be. Files are without labels and vocabulary."
)
_MADE = "Real lengths are made here: 1 to 10 words, each as often as another; pictures are noise."
_GIVEN = "Real lengths are those of the examples given."


def edge_text(measured: Mapping) -> str:
    """Lists sizes, memory, latencies, ratios, operators and what was not measured.

    Args:
        measured: What `mmkd_tf.export.benchmark.benchmark_edge` returns.

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
