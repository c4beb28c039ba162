"""Faults of what a server is sent: the SavedModel refuses, and its process lives on."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mmkd_tf.export.saved_model import export_saved_model
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text

# Seconds in CI; MMKD_TF_FUZZ=10000 takes minutes.
NUM_MUTATED = int(os.environ.get("MMKD_TF_FUZZ", "200"))
MOST_MEGABYTES = 500

# Mutates pictures of each form, most in their headers, whose checksums are made to fit.
FUZZ = """
import collections, io, random, resource, struct, sys, zlib
import numpy as np
import tensorflow as tf
from PIL import Image

serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rng, numbers = random.Random(0), np.random.default_rng(0)
pixels = numbers.integers(0, 256, (40, 30, 4)).astype("uint8")
picture, turned = Image.fromarray(pixels), Image.Exif()
turned[0x0112] = 6


def saved(mode, form, **options):
    stream = io.BytesIO()
    picture.convert(mode).save(stream, form, **options)
    return stream.getvalue()


film = {"save_all": True, "append_images": [picture.convert("RGB").rotate(90)]}
seeds = [
    saved("RGB", "JPEG", exif=turned),
    saved("L", "JPEG"),
    saved("CMYK", "JPEG"),
    saved("RGB", "JPEG", progressive=True),
    saved("RGB", "PNG", exif=turned),
    *[saved(mode, "PNG") for mode in ("RGBA", "P", "1", "LA")],
    saved("P", "PNG", transparency=3),
    saved("RGB", "BMP"),
    saved("RGBA", "BMP"),
    saved("RGB", "GIF", **film),
    saved("RGB", "WEBP", **film),
    saved("RGBA", "WEBP", lossless=True),
    saved("RGB", "TIFF"),
]
claims = [0, 1, 2, 7999, 8000, 8001, 16383, 65500, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1]


def mutated(content):
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        place = rng.randrange(rng.choice([48, 200, len(content)]))
        kind = rng.randrange(5)
        if kind == 0:
            form = rng.choice([">I", "<I", ">H", "<H"])
            claim = rng.choice(claims) % 256 ** struct.calcsize(form)
            content[place : place + struct.calcsize(form)] = struct.pack(form, claim)
        elif kind == 1:
            del content[place : place + rng.randrange(9)]
        elif kind == 2:
            content[place:place] = content[: rng.randrange(60)]
        else:
            content[min(place, len(content) - 1)] = rng.randrange(256)
    if content[:4] == b"\\x89PNG" and rng.random() < 0.8:
        content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content[: rng.randrange(len(content))] if rng.random() < 0.1 else content)


def megabytes():
    # Not what `getrusage` says, which begins with the memory of the process that started this one.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def ask(content):
    try:
        answer = serve(image=tf.constant([content]), text=tf.constant([""]))
    except tf.errors.InvalidArgumentError as error:
        return "refused by header" if "assertion failed" in str(error) else "refused by decoder"
    return "answered" if np.isfinite(answer["probabilities"]).all() else "NaN"


found = collections.Counter()
for seed in seeds:
    found[ask(seed)] += 1
with open("/proc/self/statm") as file:  # now: what loading took for a moment is free again
    before = int(file.read().split()[1]) * resource.getpagesize() / 2**20
for index in range(int(sys.argv[2])):
    found[ask(mutated(seeds[index % len(seeds)]))] += 1
print(dict(found), file=sys.stderr)
print(found["answered"], sum(found.values()), found["NaN"], megabytes() - before)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    keras.utils.set_random_seed(0)
    image = keras.Input([8, 8, 3], dtype="uint8", name="image")
    text = keras.Input([3], dtype="int32", name="text")
    seen = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    read = layers.Flatten()(layers.Embedding(3, 2)(text))
    model = keras.Model([image, text], layers.Dense(2)(layers.Concatenate()([seen, read])))
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("faults") / "student_saved_model"
    export_saved_model(
        model,
        path,
        class_names=["cup", "hat"],
        modalities={
            "image": Image(height=8),
            "text": Text(vocabulary=["<pad>", "<unk>", "red"], length=3),
        },
        examples={
            "image": rng.integers(1, 256, (4, 8, 8, 3)).astype("uint8"),
            "text": np.array([[2, 1, 0]] * 4, np.int32),
        },
    )
    return path


@pytest.fixture(scope="module")
def serve(path):
    return tf.saved_model.load(str(path)).signatures["serving_default"]


@pytest.mark.parametrize("name", ["a [1]", "a\\b", "a*?"])
def test_a_path_in_which_tensorflow_sees_a_pattern(tmp_path, name):
    text = keras.Input([2], name="text")
    with pytest.warns(UserWarning, match="TensorFlow may open no SavedModel .* rename or copy"):
        exported = export_saved_model(
            keras.Model(text, layers.Dense(2)(text)),
            tmp_path / name / "student",
            class_names=["cup", "hat"],
            modalities={"text": Text(vocabulary=["<pad>", "<unk>", "red"], length=2)},
            examples={"text": np.array([[2, 1]] * 4, np.float32)},
        )
    assert exported.num_examples == 4
    assert [file.name for file in (tmp_path / name).iterdir()] == ["student"]


def png(value):
    return tf.io.encode_png(np.full([8, 8, 3], value, np.uint8)).numpy()


# Pictures, texts, and a piece of the error.
REFUSED = {
    "no examples": ([], [], r"at least one of .*Received: none, of the examples\] \[\]"),
    "nothing at all": ([b""], [""], r"at least one of .*the examples\] \[0\]"),
    "one of three without anything": (
        [png(9), b"", b""],
        ["", "", "red"],
        r"the examples\] \[1\]",
    ),
    "a text without a word": ([b""], ["!?"], "at least one of"),
    "words in place of a picture": ([b"cup.png"], ["red"], "a JPEG, PNG or BMP file"),
    "a damaged picture beside a good one": ([png(9), png(9)[:-30]], ["", ""], "PNG"),
    "more texts than pictures": ([png(9)], ["red", "red"], ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_saved_model_refuses(name, serve):
    images, texts, message = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message or "."):
        serve(image=tf.constant(images, tf.string), text=tf.constant(texts, tf.string))


def test_what_is_there_is_enough(serve):
    images, texts = [png(9), b"", png(0)], ["", "red", ""]
    both = serve(image=tf.constant(images), text=tf.constant(texts))["probabilities"].numpy()
    for index, (image, text) in enumerate(zip(images, texts, strict=True)):
        one = serve(image=tf.constant([image]), text=tf.constant([text]))["probabilities"]
        np.testing.assert_allclose(one[0], both[index], atol=1e-6)


def test_mutated_pictures_never_end_the_process(path):
    command = [sys.executable, "-c", FUZZ, path, str(NUM_MUTATED)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    answered, asked, not_numbers, megabytes = map(float, run.stdout.split())
    assert asked == NUM_MUTATED + 16 and not_numbers == 0
    assert 0.03 < answered / asked < 0.7  # some damage does not show, most does
    assert megabytes < MOST_MEGABYTES
