import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from PIL import Image  # noqa: E402

COLOURS = {"red": (220, 30, 30), "blue": (40, 60, 220)}

# The processor as two devices, before TensorFlow starts, so that distribution can be tested.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(items):
    """Whole runs first: begun last, a long one would keep the other workers waiting."""
    items.sort(key=lambda item: item.path.parent.name != "tests")


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
