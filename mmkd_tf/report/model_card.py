"""The model card: what a released student is, for those who did not train it."""

from mmkd_tf.report.exports_page import exports_markdown
from mmkd_tf.report.robustness_page import robustness_markdown


def model_card(results: dict) -> str:
    """Writes the card of a run.

    Args:
        results: What `results.json` holds; see the README.

    Returns:
        Markdown.
    """
    dataset, student = results["dataset"], results["student"]
    lines = [
        f"# Student distilled on {dataset['name']}",
        "",
        "A classifier for "
        + " and ".join(dataset["modalities"])
        + f" into {len(dataset['class_names'])} classes: "
        + "; ".join(map(_escape, dataset["class_names"]))
        + ".",
        "",
        "## Use",
        "`student.tflite` and `student_small.tflite` run in any LiteRT interpreter without extra "
        "operators; labels, vocabulary and a description of the inputs are inside. In Python:",
        "",
        "```python",
        "from mmkd_tf.edge import Classifier",
        "",
        'classifier = Classifier("student.tflite")',
        "classifier.predict(" + _arguments(dataset) + ")",
        "```",
        "",
        "Leave out an input, or give an empty one, where it is missing. Inputs: "
        + "; ".join(f"{name}: {text}" for name, text in dataset["modalities"].items())
        + ".",
        "",
        "## How good it is",
        f"On the {dataset['sizes']['test']:,} test examples, which were used for no choice:",
        "",
        "| model | parameters | accuracy | macro recall | macro F1 | calibration error |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *[_row(title, results[name]) for name, title in MODELS.items()],
        "",
        gain(results),
        chance(results),
        f"It names the same class as its teacher for {student['agreement_with_teacher']:.1%}.",
        "",
        "| class | precision | recall | F1 | test examples |",
        "| --- | ---: | ---: | ---: | ---: |",
        *[
            f"| {_escape(c['name'])} | {c['precision']:.3f} | {c['recall']:.3f} | {c['f1']:.3f} | "
            f"{c['support']} |"
            for c in student["test"]["per_class"]
        ],
        "",
        *robustness_markdown(results, MODELS),
        "## Files",
        *exports_markdown(results["exports"]),
        "Latency: median, one thread, one example, on the machine of the run.",
        "",
        *_credits(results["config"]),
        "## How it was made",
        f"Training examples: {dataset['sizes']['train']:,}; validation: "
        f"{dataset['sizes']['validation']:,}. Seed {results['seed']}. The teacher was trained on "
        "the labels; the student on the labels (weight "
        f"{results['config']['hard_label_weight']}) and on the teacher's soft targets (loss "
        f"{results['config']['soft_target_loss']}, weight "
        f"{results['config']['soft_target_weight']}, temperature "
        f"{results['config']['temperature']}). All settings are in `config.yaml`, all figures in "
        "`results.json`.",
        *[f"\n{note}" for note in dataset["notes"]],
        "",
        "## Limits",
        "It knows the classes above and nothing else: it names one of them for any input. A text "
        "is read up to its first words, a picture is stretched to the input's size.",
        "",
    ]
    return "\n".join(lines)


def _credits(config: dict) -> list[str]:
    names = {"author": "Author", "licence": "Licence"}
    given = [f"{title}: {config[key]}." for key, title in names.items() if config[key]]
    return [" ".join(given), ""] if given else []


MODELS = {"teacher": "teacher", "student_alone": "student alone", "student": "distilled student"}
_EXAMPLES = {"image": 'image="picture.png"', "text": 'text="a few words"'}


def _arguments(dataset: dict) -> str:
    return ", ".join(_EXAMPLES[name] for name in dataset["modalities"])


def _row(title: str, values: dict) -> str:
    test = values["test"]
    return (
        f"| {title} | {values['parameters']:,} | {test['accuracy']:.3f} | "
        f"{test['macro_recall']:.3f} | {test['macro_f1']:.3f} | "
        f"{test['expected_calibration_error']:.3f} |"
    )


def gain(results: dict) -> str:
    """Says plainly whether distillation helped, and how much of that can be chance."""
    num_test = results["dataset"]["sizes"]["test"]
    alone, student = (results[name]["test"]["accuracy"] for name in ("student_alone", "student"))
    examples = round((student - alone) * num_test)
    verb = "gained" if examples > 0 else "did not help:"
    text = f"Distillation {verb} {100 * (student - alone):+.1f} points of accuracy ({examples:+d} "
    text += f"of {num_test:,} test examples)."
    if results["gap_closed"] is None:
        return text + " The teacher was no better than the student alone: no gap to close."
    return f"{text} {results['gap_closed']:.0%} of the gap to the teacher was closed."


def chance(results: dict) -> str:
    """Says how far an accuracy on this test split can be off by the draw of its examples."""
    accuracy = results["student"]["test"]["accuracy"]
    num_test = results["dataset"]["sizes"]["test"]
    margin = 196 * (accuracy * (1 - accuracy) / num_test) ** 0.5
    return (
        f"One seed on {num_test:,} test examples: each accuracy is known to about "
        f"{margin:.1f} points either way (95 %)."
    )


def _escape(name: str) -> str:
    """Keeps a class name from breaking the card's tables."""
    return name.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
