"""The data of a run: read as its settings say, with features of pretrained encoders."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkd_tf.backbones.encoder import Encoder
from mmkd_tf.backbones.feature_files import features_folder
from mmkd_tf.config import RunConfig
from mmkd_tf.data.dataset import TRANSFER, UNLABELLED, Dataset, for_student, with_student_forms
from mmkd_tf.data.folders import from_folder
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.pretrained import with_pretrained
from mmkd_tf.data.table import from_table
from mmkd_tf.data.tfds import from_tfds
from mmkd_tf.distill.cross_fitting import with_folds
from mmkd_tf.files.shards import is_shards
from mmkd_tf.files.tables import is_folder, is_table
from mmkd_tf.modalities.modality import is_absent, student_inputs
from mmkd_tf.models.inheritance import SIZES, inherited_forms
from mmkd_tf.runs.roles import frozen_encoders, sources


def load_dataset(config: RunConfig) -> Dataset:
    """Reads the table or TensorFlow dataset that a config names, as its models read it."""
    return with_features(read_dataset(config), config)


def dataset_options(config: RunConfig) -> DatasetOptions:
    """How a config has its data read."""
    data = config.data
    return DatasetOptions(
        seed=config.seed,
        skip_bad_rows=data.skip_bad_rows,
        allow_outside=data.allow_outside,
        task=data.task,
        label_separator=data.label_separator,
        unlabelled=data.unlabelled,
        unlabelled_rows=data.unlabelled_rows,
    )


def read_dataset(config: RunConfig) -> Dataset:
    """Reads the same without features: pictures and texts, with the words that students inherit."""
    data = config.data
    shared: dict[str, Any] = {"inputs": config.inputs, "options": dataset_options(config)}
    shared |= {"validation": data.validation, "test": data.test}
    if is_folder(data.source):
        dataset = from_folder(data.source, **shared)
    else:
        read: Callable[..., Dataset] = from_table if is_table(data.source) else from_tfds
        dataset = read(data.source, label=data.label, **shared)
    if TRANSFER in dataset.splits:
        given = dataset.splits[TRANSFER].inputs
        if all(is_absent(given[name]).all() for name in config.student_inputs):
            raise ValueError(
                "`data.unlabelled`: rows with an input that the student reads, "
                f"{', '.join(config.student_inputs)}. Received: {len(dataset.splits[TRANSFER]):,} "
                "rows without. Give others, or set `student.inputs`."
            )
    changes = {name: options.student_changes for name, options in config.inputs.items()}
    dataset = for_student(dataset, **changes)
    if config.student.inherit != "none":
        own = student_inputs(dataset.modalities)
        size = SIZES[config.student.inherit]
        forms = inherited_forms(own, sources(config, dataset), size)
        dataset = with_student_forms(dataset, forms)
    for modality in dataset.modalities.values():
        modality.strength = config.training.augment_strength
    return dataset


def shards_without_labels(config: RunConfig) -> dict[str, Path]:
    """The folders of shards that rows without labels come from, by source; see `UNLABELLED`."""
    data = config.data
    own = data.source if data.unlabelled_rows else None
    given = zip(UNLABELLED, (data.unlabelled, own), strict=True)
    return {name: Path(source) for name, source in given if source and is_shards(source)}


def with_features(
    dataset: Dataset,
    config: RunConfig,
    encoders: Mapping[str, Sequence[Encoder]] | None = None,
    folder: Path | None = None,
) -> Dataset:
    """Gives the teacher features of its pretrained encoders, if it has some.

    Features are computed at the first call, and kept on disk for later ones and for other runs.
    Rows without labels stay as they are where shards hold them, for `transfer_rows`: what the
    teacher says of them may be there already.

    Args:
        dataset: What `read_dataset` gave.
        config: The settings.
        encoders: By input, tuned encoders in place of the frozen ones.
        folder: Where features are kept; the cache of all runs if not given.
    """
    if not config.teacher_is_pretrained:
        return dataset
    encoders = frozen_encoders(config) if encoders is None else encoders
    how: dict[str, Any] = {"folder": folder or features_folder()}
    how |= {"beside": config.teacher_reads_both, "deferred": bool(shards_without_labels(config))}
    dataset = with_pretrained(dataset, encoders, **how)
    if config.teacher_is_cross_fitted and not dataset.task.gives_embeddings:
        dataset = with_folds(dataset, config.teacher.folds, seed=config.seed)
    return dataset
