"""Makes a Dataset of any TensorFlow Datasets builder with a picture, a text and a class."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import tensorflow_datasets as tfds

from mmkd_tf.data.assembly import assemble
from mmkd_tf.data.builders import find_builder, prepare
from mmkd_tf.data.checks import check_rows
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.features import Feature, find_features, nest
from mmkd_tf.data.options import DEFAULTS, DatasetOptions
from mmkd_tf.data.pictures import read_pictures
from mmkd_tf.data.rows import Rows
from mmkd_tf.data.splitting import check_fractions
from mmkd_tf.data.targets import choose_task, read_labels

# Names under which builders keep each split.
SPLIT_NAMES = {"test": ("test",), "validation": ("validation", "valid", "val", "dev")}


def from_tfds(
    name_or_builder,
    *,
    image: str | None = "image",
    text: str | None = "text",
    label: str = "label",
    validation: float | str = 0.15,
    test: float | str = 0.15,
    options: DatasetOptions = DEFAULTS,
) -> Dataset:
    """Makes a Dataset of a TensorFlow Datasets builder, which is prepared first if need be.

    Args:
        name_or_builder: A name that `tfds.builder` knows; `"emoji"` or `"catalog"`, which are
            prepared without a download; or a builder.
        image: Name of the feature that is the picture, `/` between the parts of a nested one.
            None for no picture.
        text: Name of the feature that is the text. None for no text.
        label: Name of the feature that is the class: a class label, whole number or string. A
            sequence of these are labels of which an example has several. With
            `task="regression"`, a number. `task="retrieval"` reads none.
        validation: Fraction of the training examples to hold out if the builder has no such
            split; or the name of a split of the builder's.
        test: The same for the test split.
        options: Sizes, seed, and what to do about bad rows.

    Returns:
        The Dataset. A class label's classes keep their order.

    Raises:
        ValueError: If there is no such dataset, or it can't be prepared, lacks a feature, or has
            one of another kind than needed; nothing is read then.
        DataError: A `ValueError` that lists all problems of all examples.
    """
    if not isinstance(label, str):
        raise ValueError(
            f"`label`: the name of one feature; a table may have several. Received: {label!r}."
        )
    held_out = {"test": test, "validation": validation}
    check_fractions(
        {split: value for split, value in held_out.items() if not isinstance(value, str)}
    )
    builder = find_builder(name_or_builder)
    names = {"image": image, "text": text}
    if options.task != "retrieval":  # the pairs themselves say what belongs together
        names["label"] = label
    features = find_features(builder, names, task=options.task)
    prepare(builder)
    names = _choose_splits(builder, held_out)
    tables, picture_problems, notes = {}, {}, []
    for split, name in names.items():
        rows, picture_problems[split] = _read_rows(builder, name, features, options)
        unlabelled = "label" in features and not any(rows.labels)
        if split in SPLIT_NAMES and len(rows) and unlabelled:
            # Many public datasets keep the labels of their test split to themselves.
            notes.append(f"the split '{name}' has no labels and is not used.")
        else:
            tables[split] = rows
    label_feature = features.get("label")
    if label_feature and (label_feature.class_names is None or label_feature.is_sequence):
        task, found = choose_task(tables["train"].labels, options)
    else:  # its names are no cells: a "|" in one means nothing
        task, found = "single_label" if options.task == "auto" else options.task, []
    class_names = label_feature.class_names if label_feature else None
    for split, rows in tables.items():
        cells = [(cell,) for cell in rows.labels] if task == "regression" else rows.labels
        rows.labels, wrong = read_labels(
            cells, task=task, separator=options.label_separator, names=[label]
        )
        check_rows(rows, picture_problems[split], wrong)
    fractions = {split: held_out[split] for split in held_out if split not in tables}
    return assemble(
        name=builder.name,
        tables=tables,
        fractions=fractions,
        options=replace(options, task=task),
        class_names=[label] if task == "regression" else class_names,
        notes=[*notes, *found],
    )


def _choose_splits(
    builder: tfds.core.DatasetBuilder, held_out: Mapping[str, float | str]
) -> dict[str, str]:
    """Gives the builder's split for `train` and for each other split that it has."""
    there = list(builder.info.splits) or ["train"]  # a builder may not say
    if "train" not in there and len(there) > 1:
        raise ValueError(
            "`name_or_builder`: a dataset with a split 'train', or with a single split. "
            f"Received: '{builder.name}' with the splits {', '.join(there)}."
        )
    names = {"train": "train" if "train" in there else there[0]}
    named = {split: value for split, value in held_out.items() if isinstance(value, str)}
    wrong = {split: value for split, value in named.items() if value.partition("[")[0] not in there}
    if wrong:
        received = ", ".join(f"{split}={value!r}" for split, value in wrong.items())
        raise ValueError(
            f"`{'`, `'.join(wrong)}`: a fraction, or one of the splits {', '.join(there)} of "
            f"'{builder.name}'. Received: {received}."
        )
    names |= named
    for split in held_out:
        free = [name for name in SPLIT_NAMES[split] if name in there and name not in names.values()]
        if split not in named and free:
            names[split] = free[0]
    return names


def _read_rows(
    builder: tfds.core.DatasetBuilder,
    split: str,
    features: Mapping[str, Feature],
    options: DatasetOptions,
) -> tuple[Rows, dict[int, str]]:
    """Reads a split, its labels as they are; pictures are decoded as any other file's bytes."""
    image = features.get("image")
    decoding = tfds.decode.PartialDecoding(
        nest({feature.path: True for feature in features.values()}),
        decoders=nest({image.path: tfds.decode.SkipDecoding()} if image else {}),
    )
    examples = builder.as_dataset(split=split, decoders=decoding)
    texts, labels = [], []

    def pictures() -> Iterator[bytes | None]:
        for example in examples.as_numpy_iterator():
            labels.append(features["label"].label_of(example) if "label" in features else "")
            if "text" in features:
                texts.append(features["text"].value(example).decode(errors="replace"))
            yield image.value(example) if image else None

    pixels, problems = read_pictures(pictures(), size=options.image_size)
    rows = Rows(
        source=f"{builder.name} {split}",
        counting="examples counted from 0",
        numbers=range(len(labels)),
        labels=labels,
        texts=texts if "text" in features else None,
        pixels=pixels if image else None,
    )
    return rows, problems
