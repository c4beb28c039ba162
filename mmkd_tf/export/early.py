"""Says before a training what an export after it would refuse, by the functions that it uses."""

from mmkd_tf.config import ExportSettings
from mmkd_tf.edge.model_file import SMALL
from mmkd_tf.export.export_all import bytes_of_texts
from mmkd_tf.export.metadata import unfit_texts
from mmkd_tf.export.text_bytes import text_reader
from mmkd_tf.export.tflite import unfit_words
from mmkd_tf.modalities import KINDS
from mmkd_tf.tasks.labels import unfit_names


def export_problems(dataset, settings: ExportSettings) -> list[str]:
    """Lists what is wrong with the names, vocabularies and credits that files are to hold.

    Args:
        dataset: A `mmkd_tf.data.dataset.Dataset`, as the model to export reads it.
        settings: How files are to be made.
    """
    credits = {"export.author": settings.author, "export.licence": settings.licence}
    problems = unfit_texts({name: text for name, text in credits.items() if text is not None})
    problems += unfit_names(dataset.class_names)
    problems += [
        f"`inputs.{name}`: of kind {name}, as a file takes an input of this name to be. Received: "
        f"kind {one.kind}. Name it otherwise, with `column: {name}`."
        for name, one in dataset.modalities.items()
        if name in KINDS and one.kind != name
    ]
    if dataset.task.is_pairwise:  # whose files are named after the inputs
        problems += [
            f"`inputs.{name}`: for files named after the two inputs a name that does not end in "
            f"'{SMALL[1:]}', as those of small files do. Received: {name}. Name it otherwise, with "
            "`column`."
            for name in dataset.modalities
            if f"_{name}".endswith(SMALL)
        ]
    texts = {name: one for name, one in dataset.modalities.items() if one.takes_utf8}
    for one in texts.values():
        problems += unfit_words(one.vocabulary)
    if problems or settings.text_input != "bytes":
        return problems
    if not texts:
        return [
            "`export.text_input`: bytes only where the student reads a text. Received: bytes, for "
            f"{', '.join(dataset.modalities)}. Leave it out."
        ]
    num_bytes = bytes_of_texts(dataset, texts)
    for name, one in texts.items():
        try:
            text_reader(one.vocabulary, length=one.length, num_bytes=num_bytes[name])
        except ValueError as error:
            problems.append(f"`inputs.{name}`, for `export.text_input`=bytes: {error}")
    return problems
