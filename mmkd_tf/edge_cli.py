"""The command line of an install without TensorFlow: what needs it says how to get it."""

import sys

from mmkd_tf.cli import main as run
from mmkd_tf.commands.errors import left_out


def main() -> None:
    """Runs the command line; see `mmkd_tf.cli`."""
    try:
        run()
    except ModuleNotFoundError as error:
        said = left_out(error)
        if said is None:
            raise
        sys.exit(f"Error: {said}")
