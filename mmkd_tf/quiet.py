"""Starts TensorFlow without its start-up messages, in the command line and in its workers."""

import logging
import os
import warnings


def quiet_tensorflow() -> None:
    """Imports TensorFlow without its start-up messages, unless people asked for them."""
    # A process that a quiet one started finds its level here.
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="keras|tensorflow|tensorflow_datasets")
    # Some come from C++ before it reads the level.
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
