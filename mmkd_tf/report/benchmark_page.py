"""What the training benchmark measured, as terminal text."""

from collections.abc import Mapping


def training_text(measured: Mapping) -> str:
    """Lists seconds and ratios.

    Args:
        measured: What `mmkd_tf.distill.benchmark.benchmark_training` returns.

    Returns:
        Lines of text.
    """
    seconds, ratios = measured["seconds"], measured["ratios"]
    width = max(map(len, (*seconds, *ratios)))
    lines = [f"{'one epoch':<{width}}  seconds"]
    lines += [f"{name:<{width}}  {value:7.2f}" for name, value in seconds.items()]
    lines += ["", f"{'ratio':<{width}}   median    least greatest"]
    lines += [
        f"{name:<{width}}  {r['median']:7.3f}  {r['least']:7.3f}  {r['greatest']:7.3f}"
        for name, r in ratios.items()
    ]
    return "\n".join(lines)
