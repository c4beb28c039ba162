"""The model card: what a released student is, for those who did not train it."""

from collections.abc import Mapping

from mmkd_tf.modalities.forms import student_forms, teacher_forms
from mmkd_tf.report.by_task import WORDS, figure, likeness, purpose, task_of
from mmkd_tf.report.exports_page import exports_markdown
from mmkd_tf.report.robustness_page import robustness_markdown
from mmkd_tf.report.tables import markdown_table


def model_card(results: dict) -> str:
    """Writes the card of a run.

    Args:
        results: What `results.json` holds; see the README.

    Returns:
        Markdown.
    """
    dataset, student = results["dataset"], results["student"]
    inputs = student_inputs(results)
    task = task_of(results)
    words = WORDS[task]
    lines = [
        f"# Student distilled on {dataset['name']}",
        "",
        purpose(task, " and ".join(inputs), len(dataset["class_names"]))
        + (": " if dataset["class_names"] else "")
        + "; ".join(map(_escape, dataset["class_names"]))
        + ".",
        "",
        "## Use",
        *(_retrieval_use() if task == "retrieval" else _use(words.reader, inputs)),
        "Inputs: " + "; ".join(f"{name}: {held}" for name, held in inputs.items()) + ".",
        "",
        "## How good it is",
        f"On the {dataset['sizes']['test']:,} test examples, which were used for no choice:",
        "",
        *_table(
            ["model", "parameters"],
            words.columns,
            [
                ([title, f"{results[name]['parameters']:,}"], results[name]["test"])
                for name, title in MODELS.items()
            ],
        ),
        "",
        gain(results),
        chance(results),
        likeness(task, student["agreement_with_teacher"]),
        "",
        *_table(
            [words.output],
            words.output_columns,
            [([_escape(values["name"])], values) for values in student["test"][words.per_output]],
        ),
        "",
        *robustness_markdown(results, MODELS),
        "## Files",
        *exports_markdown(results["exports"]),
        "Latency: median, one thread, one example, on the machine of the run.",
        "",
        *_credits(results["config"]),
        "## How it was made",
        f"Training examples: {dataset['sizes']['train']:,}; validation: "
        f"{dataset['sizes']['validation']:,}. Seed {results['seed']}. "
        + taught(results)
        + " All settings are in `config.yaml`, all figures in `results.json`.",
        *[f"\n{note}" for note in dataset["notes"]],
        "",
        "## Limits",
        " ".join([words.limits, *(_LIMITS[name] for name in inputs)]),
        "",
    ]
    return "\n".join(lines)


def taught(results: dict) -> str:
    """Says what the models learnt from, and what each side read where it is not the same."""
    task, config = task_of(results), results["config"]
    truth = WORDS[task].truth
    softening = "" if task == "regression" else f", temperature {config['temperature']}"
    text = (
        f"The teacher and the student alone learnt from the {truth}; the distilled student from "
        f"the {truth} (weight {config['hard_label_weight']}) and from the teacher's soft targets "
        f"(loss {config['soft_target_loss']}, weight {config['soft_target_weight']}{softening})."
    )
    inputs, theirs = _student_tensors(results), teacher_forms(results["dataset"]["modalities"])
    if inputs != theirs:
        sides = (
            f"the {side} {', '.join(f'{name} ({held})' for name, held in read.items())}"
            for side, read in (("teacher", theirs), ("students", inputs))
        )
        text += f" They read: {'; '.join(sides)}."
    return text


def student_inputs(results: dict) -> dict[str, str]:
    """What a student's file reads, by modality."""
    read = _student_tensors(results)
    if results["config"].get("text_input") == "bytes" and "text" in read:
        read["text"] = f"UTF-8 bytes, of which the file makes {read['text']}"
    return read


def _student_tensors(results: dict) -> dict[str, str]:
    read = results["config"].get("student_modalities")
    forms = student_forms(results["dataset"]["modalities"])
    return {name: held for name, held in forms.items() if read is None or name in read}


def _use(reader: str, inputs: Mapping[str, str]) -> list[str]:
    inside = ["labels", "vocabulary"] if "text" in inputs else ["labels"]
    lines = [
        "`student.tflite` and `student_small.tflite` run in any LiteRT interpreter without extra "
        f"operators; {', '.join(inside)} and a description of the inputs are inside. In Python:",
        "",
        "```python",
        f"from mmkd_tf.edge import {reader}",
        "",
        f'{reader.lower()} = {reader}("student.tflite")',
        f"{reader.lower()}.predict({', '.join(_EXAMPLES[name] for name in inputs)})",
        "```",
        "",
    ]
    if len(inputs) > 1:
        lines.append("Leave out an input, or give an empty one, where it is missing.")
    return lines


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
_LIMITS = {
    "image": "A picture is stretched to the input's size.",
    "text": "A text is read up to its first words.",
}
_EXAMPLES = {"image": 'image="picture.png"', "text": 'text="a few words"'}


def _table(titles: list[str], columns, rows) -> list[str]:
    """A table of figures; `rows` are what comes before them, and figures by key."""
    cells = [
        [*first, *(figure(values[key], form) for _, key, form in columns)] for first, values in rows
    ]
    return markdown_table([*titles, *(title for title, _, _ in columns)], cells, num_words=1)


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
