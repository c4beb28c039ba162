"""The summary that a run prints at its end."""

from mmkd_tf.report.exports_page import exports_lines
from mmkd_tf.report.model_card import MODELS, chance, gain
from mmkd_tf.report.robustness_page import robustness_lines


def summary(results: dict) -> str:
    """Writes the comparison and the exported files as plain text.

    Args:
        results: What `results.json` holds.
    """
    lines = [
        "",
        f"{'test split':<20}{'parameters':>12}{'accuracy':>10}{'macro recall':>14}{'macro F1':>10}",
    ]
    for name, title in MODELS.items():
        test = results[name]["test"]
        lines.append(
            f"{title:<20}{results[name]['parameters']:>12,}{test['accuracy']:>10.3f}"
            f"{test['macro_recall']:>14.3f}{test['macro_f1']:>10.3f}"
        )
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
