"""The opening and the comparison: teacher, student alone, distilled student."""

from collections.abc import Callable

from mmkd_tf.report.by_task import WORDS, figure, likeness, purpose, task_of
from mmkd_tf.report.model_card import MODELS, chance, gain, student_inputs
from mmkd_tf.report.sections.html import Markup, bar, paragraph, section, table, tag

_KIB = 1024


def opening(results: dict) -> Markup:
    """Says in a sentence and four figures what came out.

    Args:
        results: What `results.json` holds.
    """
    dataset, student, teacher = (results[name] for name in ("dataset", "student", "teacher"))
    words, shown = WORDS[task_of(results)], _share(task_of(results))
    key = words.columns[0][1]
    smallest = min(
        (made for made in results["exports"] if made["file"].endswith(".tflite")),
        key=lambda made: made["bytes"],
        default=None,
    )
    tiles = [
        (shown(student["test"][key]), f"{words.headline} of the distilled student"),
        (shown(teacher["test"][key]), f"{words.headline} of its teacher"),
        (
            f"{teacher['parameters'] / student['parameters']:,.0f} x",
            f"fewer parameters: {student['parameters']:,} for {teacher['parameters']:,}",
        ),
    ]
    if smallest:
        size, latency = smallest["bytes"] / _KIB, smallest["latency_ms"]
        tiles.append((f"{size:,.0f} KiB", f"{smallest['file']}, {latency:.2g} ms a call"))
    names = " and ".join(student_inputs(results))
    return tag(
        "header",
        tag("h1", f"Student distilled on {dataset['name']}"),
        paragraph(
            purpose(task_of(results), names, len(dataset["class_names"])),
            ", taught by a larger model and made to run on a phone.",
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
    words = WORDS[task_of(results)]
    (_, key, form), *others = words.columns
    rows = []
    for name, title in MODELS.items():
        test = results[name]["test"]
        cells = (figure(test[other], other_form) for _, other, other_form in others)
        count = f"{results[name]['parameters']:,}"
        rows.append((title, bar(test[key], figure(test[key], form)), *cells, count))
    columns = ("model", *(column for column, _, _ in words.columns), "parameters")
    return section(
        "Did distillation help?",
        table(columns, rows),
        paragraph(gain(results)),
        paragraph(
            chance(results),
            " Both students began with the same weights and saw the same examples as often; one "
            "was taught by the teacher too. Another seed gives other figures",
            *_repeated(task_of(results)),
        ),
        paragraph(
            "About the distilled student: ",
            likeness(task_of(results), results["student"]["agreement_with_teacher"]),
        ),
        paragraph(
            words.meaning,
            quiet=True,
        ),
    )


def _repeated(task: str) -> tuple[object, ...]:
    """The end of a sentence: what tells more than one run; a study compares accuracies."""
    if task != "single_label":
        return (".",)
    code = tag("code", "mmkd-tf study")
    return (": ", code, " repeats the comparison over seeds and says how sure it is.")


def _share(task: str) -> Callable[[float], str]:
    """How a tile shows the headline; people read an accuracy in percent."""
    return ("{:.1%}" if task == "single_label" else "{:.3f}").format
