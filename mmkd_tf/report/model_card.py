"""The model card: what a released student is, for those who did not train it."""

from mmkd_tf.report.by_task import WORDS, figure, likeness, purpose, task_of
from mmkd_tf.report.exports_page import exports_markdown


def model_card(results: dict) -> str:
    """Writes the card of a run.

    Args:
        results: What `results.json` holds; see the README.

    Returns:
        Markdown.
    """
    dataset, student = results["dataset"], results["student"]
    task = task_of(results)
    words = WORDS[task]
    lines = [
        f"# Student distilled on {dataset['name']}",
        "",
        purpose(task, " and ".join(dataset["modalities"]), len(dataset["class_names"]))
        + (": " if dataset["class_names"] else "")
        + "; ".join(map(_escape, dataset["class_names"]))
        + ".",
        "",
        "## Use",
        *(_retrieval_use() if task == "retrieval" else _use(words.reader, dataset)),
        "Inputs: "
        + "; ".join(f"{name}: {text}" for name, text in dataset["modalities"].items())
        + ".",
        "",
        "## How good it is",
        f"On the {dataset['sizes']['test']:,} test examples, which were used for no choice:",
        "",
        *_head(["model", "parameters"], words.columns),
        *[_row(title, results[name], words.columns) for name, title in MODELS.items()],
        "",
        gain(results),
        chance(results),
        likeness(task, student["agreement_with_teacher"]),
        "",
        *_head([words.per_output.removeprefix("per_")], words.output_columns),
        *[
            _cells([_escape(values["name"])], values, words.output_columns)
            for values in student["test"][words.per_output]
        ],
        "",
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
        f"{results['config']['soft_target_weight']}"
        + (f", temperature {results['config']['temperature']}" if task != "regression" else "")
        + "). All settings are in `config.yaml`, all figures in "
        "`results.json`.",
        *[f"\n{note}" for note in dataset["notes"]],
        "",
        "## Limits",
        words.limits + " A text is read up to its first words, a picture is stretched to the "
        "input's size.",
        "",
    ]
    return "\n".join(lines)


def _use(reader: str, dataset: dict) -> list[str]:
    return [
        "`student.tflite` and `student_small.tflite` run in any LiteRT interpreter without extra "
        "operators; labels, vocabulary and a description of the inputs are inside. In Python:",
        "",
        "```python",
        f"from mmkd_tf.edge import {reader}",
        "",
        f'{reader.lower()} = {reader}("student.tflite")',
        f"{reader.lower()}.predict(" + _arguments(dataset) + ")",
        "```",
        "",
        "Leave out an input, or give an empty one, where it is missing.",
    ]


def _retrieval_use() -> list[str]:
    return [
        "`student_image.tflite` and `student_text.tflite`, and each `_small.tflite`, run in any "
        "LiteRT interpreter without extra operators; the vocabulary and a description of the input "
        "are inside. They give an `embedding`; what belongs together has a high scalar product. In "
        "Python, with the texts that it was trained on, in `student_texts.npz`, to choose from:",
        "",
        "```python",
        "from mmkd_tf.edge import Encoder, Index",
        "",
        'image, texts = Encoder("student_image.tflite"), Index.load("student_texts.npz")',
        'texts.search(image.encode(["picture.png"])[0], top=5)',
        "```",
        "",
    ]


def _credits(config: dict) -> list[str]:
    names = {"author": "Author", "licence": "Licence"}
    given = [f"{title}: {config[key]}." for key, title in names.items() if config[key]]
    return [" ".join(given), ""] if given else []


MODELS = {"teacher": "teacher", "student_alone": "student alone", "student": "distilled student"}
_EXAMPLES = {"image": 'image="picture.png"', "text": 'text="a few words"'}


def _arguments(dataset: dict) -> str:
    return ", ".join(_EXAMPLES[name] for name in dataset["modalities"])


def _head(first: list[str], columns) -> list[str]:
    """The head of a table of figures; the first column is a name."""
    titles = [*first, *(title for title, _, _ in columns)]
    return [f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 1)}"]


def _row(title: str, values: dict, columns) -> str:
    return _cells([title, f"{values['parameters']:,}"], values["test"], columns)


def _cells(first: list[str], values: dict, columns) -> str:
    return f"| {' | '.join([*first, *(figure(values[key], form) for _, key, form in columns)])} |"


def gain(results: dict) -> str:
    """Says plainly whether distillation helped, and how much of that can be chance."""
    num_test, task = results["dataset"]["sizes"]["test"], task_of(results)
    key = WORDS[task].columns[0][1]
    alone, student = (results[name]["test"][key] for name in ("student_alone", "student"))
    if task == "single_label":
        examples = round((student - alone) * num_test)
        verb = "gained" if examples > 0 else "did not help:"
        text = f"Distillation {verb} {100 * (student - alone):+.1f} points of accuracy ("
        text += f"{examples:+d} of {num_test:,} test examples)."
    else:
        verb = "gained" if student > alone else "did not help:"
        text = f"Distillation {verb} {student - alone:+.3f} of {WORDS[task].headline}."
    if results["gap_closed"] is None:
        return text + " The teacher was no better than the student alone: no gap to close."
    return f"{text} {results['gap_closed']:.0%} of the gap to the teacher was closed."


def chance(results: dict) -> str:
    """Says how far a figure on this test split can be off by the draw of its examples."""
    num_test = results["dataset"]["sizes"]["test"]
    if task_of(results) != "single_label":
        return f"One seed on {num_test:,} test examples: a small difference can be chance."
    accuracy = results["student"]["test"]["accuracy"]
    margin = 196 * (accuracy * (1 - accuracy) / num_test) ** 0.5
    return (
        f"One seed on {num_test:,} test examples: each accuracy is known to about "
        f"{margin:.1f} points either way (95 %)."
    )


def _escape(name: str) -> str:
    """Keeps a class name from breaking the card's tables."""
    return name.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
