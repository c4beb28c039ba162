"""Gives the student inputs of its own: a smaller picture, a shorter text, fewer words."""

from mmkd_tf.data.dataset import Dataset, Examples
from mmkd_tf.edge.tokenizer import build_vocabulary
from mmkd_tf.modalities.forms import teacher_form
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.modality import in_tensor_form
from mmkd_tf.modalities.text import TOKENISED_AT_ONCE, Text

RESIZED_AT_ONCE = 512


def for_student(
    dataset: Dataset,
    *,
    image_size: int | None = None,
    text_length: int | None = None,
    vocabulary_size: int | None = None,
) -> Dataset:
    """Makes a Dataset in which the student reads other forms of the inputs than its teachers.

    `image` and `text` are the student's; `teacher/image` and `teacher/text` hold what teachers
    read, where that is something else. `build_student` and `build_teacher` build for these,
    `Distiller` and soft targets find them, and an augmented picture is the same view in both.

    Args:
        dataset: The data as teachers read them.
        image_size: Height and width of the student's pictures in pixels, at most the teachers'.
        text_length: Number of token ids of the student's texts.
        vocabulary_size: Largest number of entries of the student's vocabulary.

    Returns:
        A new Dataset of the same examples; what is None, or as it was, stays as it is.

    Raises:
        ValueError: If an argument does not fit the data; all problems are listed.

    Examples:
        >>> import pandas as pd
        >>> from mmkd_tf import from_table
        >>> rows = [(f"{a} {b} {a}", a) for a in ("cup", "lamp") for b in range(10)]
        >>> data = from_table(pd.DataFrame(rows, columns=["text", "label"]), image=None)
        >>> {name: m.describe() for name, m in for_student(data, text_length=1).modalities.items()}
        {'text': '1 token ids out of 12 words', 'teacher/text': '3 token ids out of 12 words'}
    """
    asked = {"image_size": image_size, "text_length": text_length}
    asked["vocabulary_size"] = vocabulary_size
    problems = _problems(dataset, asked)
    if problems:
        raise ValueError("\n".join(problems))
    own = {}
    image, text = dataset.modalities.get("image"), dataset.modalities.get("text")
    if image_size not in (None, getattr(image, "height", None)):
        own["image"] = Image(image_size)
    if text_length is not None or vocabulary_size is not None:
        length, words = text_length or text.length, text.vocabulary
        if vocabulary_size is not None:
            words = build_vocabulary(dataset.splits["train"].texts, max_size=vocabulary_size)
        made = Text(words, length)
        if (made.vocabulary, made.length) != (text.vocabulary, text.length):
            own["text"] = made
    modalities = {**dataset.modalities, **own}
    modalities |= {teacher_form(name): dataset.modalities[name] for name in own}
    splits = {split: _with_forms(examples, own) for split, examples in dataset.splits.items()}
    return dataset.replaced(splits=splits, modalities=modalities)


def _with_forms(examples: Examples, own: dict) -> Examples:
    inputs = dict(examples.inputs)
    for name, modality in own.items():
        inputs[teacher_form(name)] = examples.inputs[name]
        if name == "text":
            values, at_once = examples.texts, TOKENISED_AT_ONCE
        else:
            values, at_once = examples.inputs[name], RESIZED_AT_ONCE
        inputs[name] = in_tensor_form(modality, values, at_once=at_once)
    return Examples(inputs, examples.labels, examples.texts)


def _problems(dataset: Dataset, asked: dict) -> list[str]:
    problems = []
    least = {"image_size": 8, "text_length": 1, "vocabulary_size": 3}
    for name, value in asked.items():
        modality = "image" if name == "image_size" else "text"
        if value is None:
            continue
        if type(value) is not int or value < least[name]:
            problems.append(
                f"`{name}`: a whole number, at least {least[name]}. Received: {name}={value!r}."
            )
        elif modality not in dataset.modalities:
            problems.append(
                f"`{name}`: None, because the data has no {modality}. Received: {name}={value}."
            )
        elif name == "image_size" and value > dataset.modalities["image"].height:
            problems.append(
                f"`image_size`: at most that of the teachers' pictures, "
                f"{dataset.modalities['image'].height}. Received: image_size={value}. Read the "
                "data with larger pictures."
            )
    if any(name.startswith(teacher_form("")) for name in dataset.modalities):
        problems.append(
            "`dataset`: the data as teachers read them. Received: one that has forms for a "
            f"student already, {sorted(dataset.modalities)}. Take the one it was made of."
        )
    return problems
