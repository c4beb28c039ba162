import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

# The processor as two devices, before TensorFlow starts, so that distribution can be tested.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(items):
    """Whole runs first: begun last, a long one would keep the other workers waiting."""
    items.sort(key=lambda item: item.path.parent.name != "tests")
