"""The command line of an install without TensorFlow: what needs it says how to get it."""

import sys

# What the edge leaves out, as far as commands need it.
_LEFT_OUT = ("keras", "pandas", "pyarrow", "pydantic", "rich", "tensorflow", "yaml")


def main() -> None:
    """Runs the command line; see `mmkd_tf.cli`."""
    try:
        from mmkd_tf.cli import main as run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LEFT_OUT:
            raise
        print(  # noqa: T201
            f"`mmkd-tf`: predict, in this install, which is mmkd-tf-edge without {error.name}. "
            "For all else run `pip uninstall mmkd-tf-edge` and `pip install mmkd-tf`.",
            file=sys.stderr,
        )
        sys.exit(1)
