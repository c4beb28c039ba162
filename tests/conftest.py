import gc
import itertools
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from PIL import Image  # noqa: E402

# A test's graphs run for a few steps: to optimise them first takes longer than it saves. Golden
# values are those of optimised graphs, and stay the same.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

COLOURS = {"red": (220, 30, 30), "blue": (40, 60, 220)}

# The processor as two devices, before TensorFlow starts, so that distribution can be tested.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# What is shown to people trains on all of the emoji data. Run before it, this leaves a share of
# them: 64 training examples of 1,313, 62 for validation and 66 for testing.
FEW_EXAMPLES = """
import tensorflow
import mmkd_tf

tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
from mmkd_tf.data.dataset import Examples


def _few(*arguments, _all=mmkd_tf.from_tfds, **options):
    dataset = _all(*arguments, **options)
    for name, step, most in (("train", 20, 64), ("validation", 3, 62), ("test", 6, 66)):
        whole, share = dataset.splits[name], slice(0, step * most, step)
        inputs = {key: values[share] for key, values in whole.inputs.items()}
        raw = {key: values[share] for key, values in whole.raw.items()}
        dataset.splits[name] = Examples(inputs, whole.labels[share], raw)
    return dataset


mmkd_tf.from_tfds = _few
"""


# Has Keras train without graphs: to trace one takes as long as dozens of steps without.
EAGER_TRAINING = """
import functools

import keras


def _eager(fit):
    @functools.wraps(fit)
    def eagerly(model, *arguments, **options):
        model.run_eagerly = True
        try:
            return fit(model, *arguments, **options)
        finally:
            model.run_eagerly = False
            model.train_function = model.test_function = None

    return eagerly


keras.Model.fit = _eager(keras.Model.fit)
"""


@pytest.fixture(scope="session", autouse=True)
def few_candidates():
    """Of an encoder's words those alone that are taken are asked what they say: half a minute less.

    That the ones that say most are taken is tested with an encoder of a few words.
    """
    from mmkd_tf.models import inheritance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inheritance, "MOST_CANDIDATES", 100)
        yield


@pytest.fixture(scope="module")
def eager_training():
    """The same for tests whose subject is what lies around trainings of a few steps.

    That graphs train alike is tested with every loss, term, fusion and kind of input, and by the
    golden runs.
    """
    import keras

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", keras.Model.fit)  # so that it is put back
        exec(EAGER_TRAINING, {})
        yield


@pytest.fixture
def usual_sigint():
    """Ctrl-C as people have it: where tests run in the background, the shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def eager_code():
    """Code that has what runs after it train without graphs."""
    return EAGER_TRAINING


@pytest.fixture(scope="session")
def few_examples():
    """Code that has what runs after it see a share of the emoji data."""
    return FEW_EXAMPLES


def pytest_collection_modifyitems(items):
    """Whole runs first: begun last, a long one would keep the other workers waiting."""
    items.sort(key=lambda item: item.path.parent.name not in ("golden", "tests"))


def pytest_collection_finish():
    """Has the garbage collector look less often, and never at what stays to the end.

    Tracing a graph makes millions of objects, and after every 700 Python looks for cycles: with all
    modules and tests in memory that takes a twentieth of the time and more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table of 40 rows with pictures that any model can tell apart."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    lines = ["image,text,label"]
    for index in range(20):
        for label, colour in COLOURS.items():
            pixels = np.clip(rng.normal(colour, 30, [16, 16, 3]), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{label}{index}.png")
            lines.append(f"{label}{index}.png,a {label} thing {index % 7},{label}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


@pytest.fixture(scope="session")
def two_coloured():
    """Writes pictures of one colour over another, some of each pair, and says what they are.

    Called with a folder, the colours by name and how many of a pair; yields the number of the pair,
    of the picture among them, the path from the folder, and both colours in words.
    """

    def write(folder, colours, repeats):
        rng = np.random.default_rng(0)
        (folder / "pictures").mkdir()
        for number, (upper, lower) in enumerate(itertools.product(colours, repeat=2)):
            for repeat in range(repeats):
                pixels = np.zeros([16, 16, 3])
                pixels[:8], pixels[8:] = colours[upper], colours[lower]
                pixels = np.clip(pixels + rng.normal(0, 15, pixels.shape), 0, 255).astype(np.uint8)
                path = f"pictures/{number}_{repeat}.png"
                Image.fromarray(pixels).save(folder / path)
                yield number, repeat, path, f"{upper} over {lower}"

    return write


@pytest.fixture
def register_letters(monkeypatch, tmp_path):
    """Registers `letters`, a backbone of texts: the mean of 16 numbers for each letter.

    It is called with the initializer of the numbers, and with what whole words it knows.
    """
    import keras

    from mmkd_tf.backbones import BACKBONES, backbone_of, register_backbone
    from mmkd_tf.runs import roles

    letters = "abcdefghijklmnopqrstuvwxyz"

    def register(start, vocabulary):
        ids = keras.Input([None], dtype="int32")
        x = keras.layers.Embedding(30, 16, mask_zero=True, embeddings_initializer=start)(ids)
        model = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(x))
        register_backbone(
            backbone_of(
                model,
                name="letters",
                kind="text",
                licence="MIT",
                tokenize=lambda texts: [[letters.find(c) + 2 for c in text] for text in texts],
                vocabulary=vocabulary,
            )
        )

    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path / "cache"))
    roles.encoder.cache_clear()
    yield register
    roles.encoder.cache_clear()
    BACKBONES.pop("letters", None)
