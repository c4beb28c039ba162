"""Datasets that come with the package, prepared by TensorFlow Datasets without a download."""

import tensorflow_datasets as tfds


def pictures_with_texts(image_size: int, class_names: tuple[str, ...]) -> dict:
    """What a DatasetInfo says of square pictures with texts, to be sorted into classes."""
    shape = (image_size, image_size, 3)
    return {
        "features": tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=shape, encoding_format="png"),
                "text": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=list(class_names)),
            }
        ),
        "supervised_keys": ({"image": "image", "text": "text"}, "label"),
    }
