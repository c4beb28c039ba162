"""Makes a Dataset of any TensorFlow Datasets builder with inputs and a label."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches

import tensorflow_datasets as tfds

from mmkd_tf.data.assembly import assemble
from mmkd_tf.data.dataset import Dataset
from mmkd_tf.data.features import Feature, find_features, nest
from mmkd_tf.data.options import DEFAULTS, DatasetOptions, check_fractions, named_inputs
from mmkd_tf.data.rows import Rows, check_rows
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.tasks import choose_task, find_task
from mmkd_tf.tasks.labels import DEFAULT_SEPARATOR

# Names under which builders keep each split.
SPLIT_NAMES = {"test": ("test",), "validation": ("validation", "valid", "val", "dev")}


def from_tfds(
    name_or_builder,
    *,
    image: str | None = "image",
    text: str | None = "text",
    label: str = "label",
    inputs: Mapping[str, Mapping | InputOptions] | None = None,
    validation: float | str = 0.15,
    test: float | str = 0.15,
    options: DatasetOptions = DEFAULTS,
) -> Dataset:
    """Makes a Dataset of a TensorFlow Datasets builder, which is prepared first if need be.

    Args:
        name_or_builder: A name that `tfds.builder` knows; `"emoji"` or `"catalog"`, which are
            prepared without a download; or a builder.
        image: Name of the feature that is the picture, `/` between the parts of a nested one;
            None for no picture.
        text: The same of the text.
        label: Name of the feature that is the class: a class label, whole number or string. A
            sequence of these are labels of which an example has several. With
            `task="regression"`, a number. `task="retrieval"` reads none.
        inputs: In place of `image` and `text`, any inputs by name, as for `from_table`; a
            feature's name is the `column`.
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
    in_short = inputs is None
    inputs = named_inputs(inputs, image=image, text=text, options=options)
    held_out = {"test": test, "validation": validation}
    check_fractions(
        {split: value for split, value in held_out.items() if not isinstance(value, str)}
    )
    builder = find_builder(name_or_builder)
    asked = None if options.task == "auto" else find_task(options.task)
    has_labels = asked is None or asked.has_labels
    features, label_feature = find_features(
        builder, inputs, label if has_labels else None, task=asked, in_short=in_short
    )
    prepare(builder)
    names = _choose_splits(builder, held_out)
    labels, notes = {}, []
    if label_feature:
        for split, name in list(names.items()):
            labels[split] = [
                label_feature.label_of(example)
                for example in _examples(builder, name, label_feature)
            ]
            if split in SPLIT_NAMES and labels[split] and not any(labels[split]):
                # Many public datasets keep the labels of their test split to themselves.
                notes.append(f"the split '{name}' has no labels and is not used.")
                del names[split]
    if label_feature and label_feature.class_names and not label_feature.is_sequence:
        # Its names are no cells: a "|" in one means nothing.
        task, found = choose_task((), name=options.task, separator=DEFAULT_SEPARATOR)
    else:
        task, found = choose_task(
            labels.get("train", ()), name=options.task, separator=options.label_separator
        )
    options = replace(options, task=task.name)
    columns = [label] if label_feature else []
    tables = {}
    for split, name in names.items():
        rows, problems = _read_rows(builder, name, features, inputs)
        cells = [(cell,) for cell in labels[split]] if label_feature else [()] * len(rows)
        rows.labels, wrong = task.read_labels(
            cells, separator=options.label_separator, names=columns
        )
        check_rows(rows, problems, wrong)
        tables[split] = rows
    return assemble(
        name=builder.name,
        tables=tables,
        fractions={split: held_out[split] for split in held_out if split not in tables},
        inputs=inputs,
        options=options,
        class_names=task.output_names(columns) or (label_feature and label_feature.class_names),
        notes=[*notes, *found],
    )


def find_builder(name_or_builder) -> tfds.core.DatasetBuilder:
    """Gives the builder of a name: `"emoji"`, `"catalog"`, or one that `tfds.builder` knows."""
    if isinstance(name_or_builder, tfds.core.DatasetBuilder):
        return name_or_builder
    if not isinstance(name_or_builder, str):
        raise TypeError(
            "`name_or_builder`: the name of a TensorFlow dataset, or its builder. "
            f"Received: {type(name_or_builder).__name__}."
        )
    if name_or_builder == "emoji":
        from mmkd_tf.data.embedded.emoji import Emoji  # not at the top: needs fonts

        return Emoji()
    if name_or_builder == "catalog":
        from mmkd_tf.data.embedded.catalog import Catalog

        return Catalog()
    try:
        return tfds.builder(name_or_builder)
    except tfds.core.DatasetNotFoundError:
        known = ["emoji", "catalog", *tfds.list_builders(with_community_datasets=False)]
        close = get_close_matches(name_or_builder, known, n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            "`name_or_builder`: emoji, catalog or a dataset that TensorFlow Datasets knows. "
            f"Received: '{name_or_builder}'.{hint}"
        ) from None


def prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and prepares a dataset unless that was done before."""
    try:
        builder.download_and_prepare()
    except Exception as error:  # from the network, the disk, archives, and each builder's code
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"`name_or_builder`: a dataset that is prepared already, or that can be downloaded. "
            f"Received: '{builder.name}', which could not be prepared in '{builder.data_dir}' "
            f"({type(error).__name__}: {reason}). A dataset that has to be downloaded can be "
            "prepared on a machine that is connected, and copied to that folder."
        ) from error


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
    inputs: Mapping[str, InputOptions],
) -> tuple[Rows, list[dict[int, str]]]:
    """Reads the inputs of a split; gives rows without labels, and each input's problems."""
    kinds = {name: KINDS[settings.kind] for name, settings in inputs.items()}
    values, problems = {}, []
    for name, kind in kinds.items():
        feature = features[name]
        examples = _examples(builder, split, feature, kind.feature_decoder(feature.connector))
        # A generator, so that few cells are held in memory at a time.
        cells = (feature.value(example) for example in examples)
        values[name], wrong = kind.read(cells, inputs[name])
        problems.append(wrong)
    numbers = range(len(values[name]))
    source = f"{builder.name} {split}"
    return Rows(source, "examples counted from 0", numbers, [], values, kinds), problems


def _examples(
    builder: tfds.core.DatasetBuilder, split: str, feature: Feature, decoder=None
) -> Iterator[Mapping]:
    """Reads the examples of a split, always in the same order, with one feature alone."""
    decoding = tfds.decode.PartialDecoding(
        nest({feature.path: True}), decoders=nest({feature.path: decoder} if decoder else {})
    )
    return iter(builder.as_dataset(split=split, decoders=decoding).as_numpy_iterator())
