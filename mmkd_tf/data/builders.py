"""Finds and prepares a TensorFlow Datasets builder."""

from difflib import get_close_matches

import tensorflow_datasets as tfds


def find_builder(name_or_builder) -> tfds.core.DatasetBuilder:
    """Gives the builder of a name: `"emoji"`, `"catalog"`, or one that `tfds.builder` knows.

    Raises:
        ValueError: If there is no such dataset.
        TypeError: If it is neither a name nor a builder.
    """
    if isinstance(name_or_builder, tfds.core.DatasetBuilder):
        return name_or_builder
    if not isinstance(name_or_builder, str):
        raise TypeError(
            "`name_or_builder`: the name of a TensorFlow dataset, or its builder. "
            f"Received: {type(name_or_builder).__name__}."
        )
    if name_or_builder == "emoji":
        from mmkd_tf.data.emoji import Emoji  # not at the top: it needs fonts and emoji data

        return Emoji()
    if name_or_builder == "catalog":
        from mmkd_tf.data.catalog import Catalog

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
    """Downloads and prepares a dataset unless that was done before.

    Raises:
        ValueError: If it can't be done, with the reason and what to do.
    """
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
