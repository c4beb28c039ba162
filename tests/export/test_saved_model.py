import subprocess
import sys
from io import BytesIO

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image as PillowImage

from mmkd_tf.edge.picture import read_picture
from mmkd_tf.export import parity
from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.modalities import image as image_module
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

LOAD = """
import sys
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answer = serve(image=tf.constant([b""]), text=tf.constant(["Red 茶, word7!"]))
print(*answer["probabilities"][0].numpy())
"""


@pytest.fixture(scope="module")
def exported(model, class_names, modalities, examples, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved_model") / "student"
    result = export_saved_model(
        model, path, class_names=class_names, modalities=modalities, examples=examples
    )
    return path, result


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported[0])).signatures


def png(pixels):
    stream = BytesIO()
    PillowImage.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_result_describes_the_folder(exported):
    path, result = exported
    files = [file for file in path.rglob("*") if file.is_file()]
    assert result.file == str(path)
    assert result.bytes == sum(file.stat().st_size for file in files)
    assert result.num_examples == 40
    assert result.top1_agreement == 1.0
    assert result.max_abs_logit_difference <= 1e-4
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("size", [1, 7])
def test_tensors_equal_keras_in_any_batch(signatures, model, examples, size):
    few = {name: values[:size] for name, values in examples.items()}
    answer = signatures["tensors"](**{name: tf.constant(v) for name, v in few.items()})
    expected = keras.ops.softmax(model(few))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def test_pictures_and_texts_in_names_out(signatures, model, class_names):
    rng = np.random.default_rng(0)
    opaque = rng.integers(0, 256, (16, 16, 3)).astype("uint8")
    clear = rng.integers(0, 256, (30, 40, 4)).astype("uint8")
    files = [png(opaque), png(clear), b"", png(opaque)]
    texts = ["RED cup", "茶 word3 word3 red red red red red", "word15", ""]
    answer = signatures["serving_default"](image=tf.constant(files), text=tf.constant(texts))
    tensors = {
        "image": np.stack(
            [opaque, read_picture(files[1], height=16, width=16), opaque * 0, opaque]
        ),
        "text": np.array([[2, 1] + [0] * 4, [3, 7, 7, 2, 2, 2], [19] + [0] * 5, [0] * 6]),
    }
    expected = keras.ops.softmax(model(tensors)).numpy()
    # Pillow rounds between the two passes of a resize, TensorFlow after both.
    np.testing.assert_allclose(answer["probabilities"], expected, atol=2e-3)
    np.testing.assert_allclose(answer["probabilities"][2], expected[2], atol=1e-6)
    names = [[name.decode() for name in row] for row in answer["class_names"].numpy()]
    assert names == [class_names] * 4
    labels = [label.decode() for label in answer["label"].numpy()]
    assert labels == [class_names[i] for i in expected.argmax(axis=1)]


def test_another_process_reads_variables_and_vocabulary(exported, model):
    path, _ = exported
    run = subprocess.run(
        [sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=True
    )
    tensors = {
        "image": np.zeros([1, 16, 16, 3], "uint8"),
        "text": np.array([[2, 3, 11, 0, 0, 0]]),
    }
    expected = keras.ops.softmax(model(tensors))[0]
    np.testing.assert_allclose(list(map(float, run.stdout.split())), expected, atol=1e-6)


def test_one_modality_as_float(class_names, tmp_path):
    image = keras.Input([8, 12, 3], name="image")
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(image)))
    examples = {"image": np.random.default_rng(0).uniform(0, 255, (4, 8, 12, 3))}
    path = tmp_path / "made" / "student"
    modalities = {
        "image": Image(height=8, width=12),
        "text": Text(vocabulary=["<pad>", "<unk>", "x"], length=3),
    }
    export_saved_model(
        model, path, class_names=class_names, modalities=modalities, examples=examples
    )
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    assert list(serve.structured_input_signature[1]) == ["image"]


def test_replaces_a_saved_model_and_nothing_else(
    model, class_names, modalities, examples, tmp_path
):
    few = {name: values[:4] for name, values in examples.items()}
    arguments = {"class_names": class_names, "modalities": modalities, "examples": few}
    path = tmp_path / "student"
    path.mkdir()
    export_saved_model(model, path, **arguments)
    (path / "old").touch()
    export_saved_model(model, path, **arguments)
    assert not (path / "old").exists()
    assert list(tmp_path.iterdir()) == [path]

    other = tmp_path / "letters"
    other.mkdir()
    (other / "to_mother.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="which holds something else"):
        export_saved_model(model, other, **arguments)
    assert (other / "to_mother.txt").read_text() == "dear"


def test_difference_leaves_nothing(model, class_names, modalities, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "MAX_LOGIT_DIFFERENCE", -1.0)
    with pytest.raises(RuntimeError, match="differs from Keras"):
        export_saved_model(
            model,
            tmp_path / "student",
            class_names=class_names,
            modalities=modalities,
            examples=examples,
        )
    assert list(tmp_path.iterdir()) == []


def test_another_reading_of_pictures_leaves_nothing(
    model, class_names, modalities, examples, tmp_path, monkeypatch
):
    decode_picture = image_module.decode_picture

    def negative(content, *, height, width):
        return 255 - decode_picture(content, height=height, width=width)

    monkeypatch.setattr(image_module, "decode_picture", negative)
    with pytest.raises(RuntimeError, match="on raw image and text"):
        export_saved_model(
            model,
            tmp_path / "student",
            class_names=class_names,
            modalities=modalities,
            examples=examples,
        )
    assert list(tmp_path.iterdir()) == []


def test_refuses_modalities_that_do_not_fit(model, class_names, examples, tmp_path):
    wrong = {"image": Image(height=32), "text": Text(vocabulary=["<pad>", "<unk>", "x"], length=3)}
    with pytest.raises(ValueError) as caught:
        export_saved_model(
            model, tmp_path / "a", class_names=["a"], modalities=wrong, examples=examples
        )
    assert "image as in the examples, [16, 16, 3]" in str(caught.value)
    assert "text as in the examples, [6]" in str(caught.value)
    assert "`class_names`" in str(caught.value)
    with pytest.raises(ValueError, match="one for each input of the model"):
        export_saved_model(
            model,
            tmp_path / "a",
            class_names=class_names,
            modalities={"text": wrong["text"]},
            examples=examples,
        )
