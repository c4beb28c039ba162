"""The summary that a run prints at its end."""

from mmkd_tf.report.by_task import WORDS, figure, task_of
from mmkd_tf.report.exports_page import exports_lines
from mmkd_tf.report.model_card import MODELS, chance, gain
from mmkd_tf.report.robustness_page import robustness_lines


def summary(results: dict) -> str:
    """Writes the comparison and the exported files as plain text.

    Args:
        results: What `results.json` holds.
    """
    columns = WORDS[task_of(results)].columns[:3]
    widths = [max(10, len(title) + 2) for title, _, _ in columns]
    head = "".join(f"{c[0]:>{width}}" for c, width in zip(columns, widths, strict=True))
    lines = ["", f"{'test split':<20}{'parameters':>12}{head}"]
    for name, title in MODELS.items():
        test = results[name]["test"]
        figures = (
            f"{figure(test[key], form):>{width}}"
            for (_, key, form), width in zip(columns, widths, strict=True)
        )
        lines.append(f"{title:<20}{results[name]['parameters']:>12,}{''.join(figures)}")
    lines += [
        gain(results),
        chance(results),
    ]
    lines += robustness_lines(results, MODELS)
    lines += ["", *exports_lines(results["exports"]), ""]
    seconds = results["seconds"]
    lines.append(
        f"{sum(seconds.values()):.0f} seconds ("
        + ", ".join(f"{stage} {value:.0f}" for stage, value in seconds.items())
        + f"), peak memory {results['peak_memory_mib']:,.0f} MiB"
    )
    return "\n".join(lines)
