"""Makes a Dataset of any TensorFlow Datasets builder with inputs and a label."""

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from difflib import get_close_matches
from itertools import chain, islice
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mmkd_tf.data.assembly import assemble
from mmkd_tf.data.dataset import UNLABELLED, Dataset
from mmkd_tf.data.decoding import NO_FILE, file_mark, kept_shape, key_of
from mmkd_tf.data.features import Feature, find_features, nest
from mmkd_tf.data.kept import Writer, opened, whole
from mmkd_tf.data.options import DEFAULTS, DatasetOptions, check_fractions, named_inputs
from mmkd_tf.data.rows import Rows, check_rows
from mmkd_tf.data.unlabelled import read_unlabelled, without_label
from mmkd_tf.modalities import KINDS
from mmkd_tf.modalities.modality import InputOptions
from mmkd_tf.progress import is_shown, steps
from mmkd_tf.tasks import choose_task, find_task
from mmkd_tf.tasks.labels import DEFAULT_SEPARATOR

# Names under which builders keep each split.
SPLIT_NAMES = {"test": ("test",), "validation": ("validation", "valid", "val", "dev")}
_AT_ONCE = 256  # examples whose raw values are held beside those that are read


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
    tables, problems, notes = {}, {}, []
    for split, name in names.items():
        rows, problems[split] = _read_rows(builder, name, features, label_feature, inputs)
        if label_feature and split in SPLIT_NAMES and len(rows) and not any(rows.labels):
            # Many public datasets keep the labels of their test split to themselves.
            notes.append(f"the split '{name}' has no labels and is not used.")
        else:
            tables[split] = rows
    if label_feature and label_feature.class_names and not label_feature.is_sequence:
        # Its names are no cells: a "|" in one means nothing.
        task, found = choose_task((), name=options.task, separator=DEFAULT_SEPARATOR)
    else:
        task, found = choose_task(
            tables["train"].labels, name=options.task, separator=options.label_separator
        )
    options = replace(options, task=task.name)
    columns = [label] if label_feature else []
    for split, rows in tables.items():
        cells = [(cell,) for cell in rows.labels] if label_feature else [()] * len(rows)
        rows.labels, wrong = task.read_labels(
            cells, separator=options.label_separator, names=columns
        )
        if split == "train":
            rows.unlabelled, wrong = without_label(cells, wrong, options)
        check_rows(rows, problems[split], wrong)
    if options.unlabelled is not None:
        tables[UNLABELLED[0]], about = read_unlabelled(
            inputs, options, labels=columns, labelled=tables["train"]
        )
        found = [*found, *about]
    return assemble(
        name=builder.name,
        tables=tables,
        fractions={split: float(held_out[split]) for split in held_out if split not in tables},
        inputs=inputs,
        options=options,
        class_names=task.output_names(columns)
        or (label_feature.class_names if label_feature else None),
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
        with _in_our_words(builder):
            builder.download_and_prepare()
    except Exception as error:  # from the network, the disk, archives, and each builder's code
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"`name_or_builder`: a dataset that is prepared already, or that can be downloaded. "
            f"Received: '{builder.name}', which could not be prepared in '{builder.data_dir}' "
            f"({type(error).__name__}: {reason}). A dataset that has to be downloaded can be "
            "prepared on a machine that is connected, and copied to that folder."
        ) from error


@contextmanager
def _in_our_words(builder: tfds.core.DatasetBuilder):
    """Where a command shows progress, keeps the library's own bars and lines out of it."""
    if not is_shown() or builder.is_prepared():
        yield
        return
    tfds.disable_progress_bar()
    try:
        with steps(f"{builder.name}: being prepared", 1), redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


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
    label: Feature | None,
    inputs: Mapping[str, InputOptions],
) -> tuple[Rows, list[dict[int, str]]]:
    """Reads a split once, in its order; gives rows, their labels as text, and inputs' problems."""
    kinds = {name: KINDS[settings.kind] for name, settings in inputs.items()}
    wanted = [*features.values(), *([label] if label else [])]
    decoders = {
        feature.path: decoder
        for name, feature in features.items()
        if (decoder := kinds[name].feature_decoder(feature.connector))
    }
    decoding = tfds.decode.PartialDecoding(
        nest({feature.path: True for feature in wanted}), decoders=nest(decoders)
    )
    examples = iter(builder.as_dataset(split=split, decoders=decoding).as_numpy_iterator())
    source, counting = f"{builder.name} {split}", "examples counted from 0"
    number, marks = _marks(builder, split)
    # No values are read of no cells, so that a split without examples has values of the kind too.
    parts = {name: [kind.read([], inputs[name])[0]] for name, kind in kinds.items()}
    problems: dict[str, dict[int, str]] = {name: {} for name in kinds}
    labels, num_rows, values = list[Any](), 0, dict[str, Any]()
    writers: dict[str, Writer] = {}
    with ExitStack() as stack:
        for name, kind in kinds.items():
            if shape := kept_shape(kind, inputs[name], number):
                key = key_of(kind, inputs[name], [*marks, *features[name].path])
                if found := opened(key):
                    values[name], problems[name] = whole(found)
                else:
                    writers[name] = stack.enter_context(Writer(key, source, shape, np.uint8))
        while some := list(islice(examples, _AT_ONCE)):
            for name in kinds.keys() - values.keys():
                cells = [features[name].value(one) for one in some]
                read, wrong = kinds[name].read(cells, inputs[name])
                if name in writers:
                    writers[name].add(read, wrong)
                else:
                    parts[name].append(read)
                    problems[name] |= {num_rows + index: reason for index, reason in wrong.items()}
            labels += map(label.label_of, some) if label else []
            num_rows += len(some)
        for name, writer in writers.items():
            values[name], problems[name] = whole(writer.finish())
    values = {n: values[n] if n in values else _joined(parts.pop(n)) for n in kinds}
    rows = Rows(source, counting, range(num_rows), labels, values, kinds)
    return rows, list(problems.values())


def _marks(builder: tfds.core.DatasetBuilder, split: str) -> tuple[int, list[str | None]]:
    """How many examples a split has, 0 if nobody says, and what changes when its files do."""
    try:
        info = builder.info.splits[split]
        marks = [file_mark(path) for path in info.filepaths]
    except (AttributeError, KeyError, ValueError):
        return 0, [None]
    known = marks and NO_FILE not in marks
    said = [str(builder.data_dir), split] if known else [None]
    return info.num_examples, [*said, *marks]


def _joined(parts: Sequence[Sequence]) -> Sequence:
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else list(chain(*parts))
