"""The opening and the comparison: teacher, student alone, distilled student."""

from mmkd_tf.report.model_card import MODELS, chance, gain
from mmkd_tf.report.sections.html import Markup, bar, paragraph, section, table, tag

_KIB = 1024


def opening(results: dict) -> Markup:
    """Says in a sentence and four figures what came out.

    Args:
        results: What `results.json` holds.
    """
    dataset, student, teacher = (results[name] for name in ("dataset", "student", "teacher"))
    smallest = min(
        (made for made in results["exports"] if made["file"].endswith(".tflite")),
        key=lambda made: made["bytes"],
        default=None,
    )
    tiles = [
        (f"{student['test']['accuracy']:.1%}", "accuracy of the distilled student"),
        (f"{teacher['test']['accuracy']:.1%}", "accuracy of its teacher"),
        (
            f"{teacher['parameters'] / student['parameters']:,.0f} x",
            f"fewer parameters: {student['parameters']:,} for {teacher['parameters']:,}",
        ),
    ]
    if smallest:
        size, latency = smallest["bytes"] / _KIB, smallest["latency_ms"]
        tiles.append((f"{size:,.0f} KiB", f"{smallest['file']}, {latency:.2g} ms a call"))
    return tag(
        "header",
        tag("h1", f"Student distilled on {dataset['name']}"),
        paragraph(
            f"A classifier for {' and '.join(dataset['modalities'])} into "
            f"{len(dataset['class_names']):,} classes, taught by a larger model and made to run on "
            "a phone."
        ),
        tag(
            "dl",
            *(tag("div", tag("dt", meaning), tag("dd", value)) for value, meaning in tiles),
            class_="tiles",
        ),
    )


def comparison(results: dict) -> Markup:
    """Compares the models and says how far the comparison can be trusted.

    Args:
        results: What `results.json` holds.
    """
    rows = []
    for name, title in MODELS.items():
        test = results[name]["test"]
        rows.append(
            (
                title,
                bar(test["accuracy"], f"{test['accuracy']:.3f}"),
                f"{test['macro_recall']:.3f}",
                f"{test['macro_f1']:.3f}",
                f"{test['expected_calibration_error']:.3f}",
                f"{results[name]['parameters']:,}",
            )
        )
    columns = ("model", "accuracy", "macro recall", "macro F1", "calibration error", "parameters")
    return section(
        "Did distillation help?",
        table(columns, rows),
        paragraph(gain(results)),
        paragraph(
            chance(results),
            " A smaller difference says little. Both students began with the same weights and saw "
            "the same examples as often; one was taught by the teacher too. Another seed gives "
            "other figures: ",
            tag("code", "mmkd-tf study"),
            " repeats the comparison over seeds and says how sure it is.",
        ),
        paragraph(
            "The distilled student names the same class as its teacher for "
            f"{results['student']['agreement_with_teacher']:.1%} of the examples."
        ),
        paragraph(
            "Accuracy: share of the examples whose class is named. Macro recall and F1: means over "
            "the classes, so that rare ones count as much as frequent ones. Calibration error: how "
            "far the models' certainty is from their accuracy, 0 is best.",
            quiet=True,
        ),
    )
