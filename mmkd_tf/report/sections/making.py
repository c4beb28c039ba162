"""The section about how a run was made: settings, versions, time."""

from mmkd_tf.config import RunConfig
from mmkd_tf.report.model_card import taught
from mmkd_tf.report.sections.html import Markup, folded, paragraph, section, table, tag


def making(results: dict) -> Markup:
    """Says what would make the run again, and what it took.

    Args:
        results: What `results.json` holds.
    """
    config, seconds = results["config"], results["seconds"]
    settings = [(name, _value(value), _description(name)) for name, value in config.items()]
    times = [(stage.replace("_", " "), f"{value:,.1f}") for stage, value in seconds.items()]
    times.append(("together", f"{sum(seconds.values()):,.1f}"))
    return section(
        "How it was made",
        paragraph(
            f"Each model saw the training examples {config['epochs']:,} times. ",
            taught(results),
            f" Seed {results['seed']}; the same seed on the same machine gives the same figures.",
        ),
        tag(
            "div",
            table(("stage", "seconds"), times),
            table(("software", "version"), results["versions"].items()),
            class_="beside",
        ),
        paragraph(f"Largest memory: {results['peak_memory_mib']:,.0f} MiB."),
        folded("All settings", table(("setting", "value", "meaning"), settings, num_words=3)),
    )


def _value(value: object) -> str:
    return "none" if value is None else str(value)


def _description(name: str) -> str:
    field = RunConfig.model_fields.get(name)
    return (field.description or "") if field else ""
