"""A person's own Functional Keras models work wherever the project's do."""

import keras
import numpy as np
import pytest
from keras import layers

from mmkd_tf import Classifier, Dataset, export_saved_model, export_tflite
from mmkd_tf.data.dataset import Examples
from mmkd_tf.distill.training import Recipe, distill, train
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.seeding import seeded

WORDS = ["<pad>", "<unk>", "red", "cup"]


def examples(count):
    rng = np.random.default_rng(count)
    pictures = rng.integers(0, 256, [count, 32, 32, 3], np.uint8)
    return Examples(
        {"image": pictures, "text": rng.integers(0, 4, [count, 3]).astype("int32")},
        rng.integers(0, 3, count).astype("int32"),
        {"text": ["red cup"] * count},
    )


@pytest.fixture(scope="module")
def dataset():
    return Dataset(
        name="own",
        splits={"train": examples(16), "validation": examples(8), "test": examples(9)},
        class_names=["a", "b", "c"],
        modalities={"image": Image(height=32), "text": Text(vocabulary=WORDS, length=3)},
    )


def backbone_with_text():
    """Two blocks of VGG16 for the picture, text beside it; inputs in a list."""
    image = keras.Input([32, 32, 3], name="image")
    text = keras.Input([3], dtype="int32", name="text")
    whole = keras.applications.VGG16(input_shape=(32, 32, 3), include_top=False, weights=None)
    pooled = layers.GlobalAveragePooling2D()(whole.get_layer("block2_pool").output)
    backbone = keras.Model(whole.input, pooled)
    seen = backbone(layers.Rescaling(1 / 127.5, offset=-1)(image))
    read = layers.LSTM(8)(layers.Embedding(4, 8, mask_zero=True)(text))
    logits = layers.Dense(3)(layers.Concatenate()([seen, read]))
    return keras.Model([image, text], logits)


@pytest.mark.slow
def test_a_keras_applications_backbone_with_text_beside_it(dataset, tmp_path):
    recipe = Recipe(epochs=1, batch_size=8)
    teacher = train(backbone_with_text(), dataset, recipe)
    student = seeded(backbone_with_text(), seed=1)
    before = [value.copy() for value in student.get_weights()]
    distill(student=student, teacher=teacher, dataset=dataset, recipe=recipe)
    assert any((a != b).any() for a, b in zip(before, student.get_weights(), strict=True))

    arguments = {
        "class_names": dataset.class_names,
        "examples": dataset.splits["validation"].inputs,
    }
    lite = export_tflite(student, tmp_path / "own.tflite", vocabulary=WORDS, **arguments)
    saved = export_saved_model(
        student, tmp_path / "own", modalities=dataset.modalities, **arguments
    )
    assert lite.top1_agreement == saved.top1_agreement == 1.0
    prediction = Classifier(tmp_path / "own.tflite").predict(
        image=dataset.splits["test"].inputs["image"][0], text="Red cup!"
    )
    assert sorted(prediction.probabilities) == ["a", "b", "c"]
