"""Errors of the command line: for people, without a traceback, in the words of its flags."""

import errno
import importlib.util
import os
import re
import signal
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import typer

from mmkd_tf.terminal import echo

# What to do about a path that the system refuses, by its error.
_PATHS = {
    errno.EACCES: "Change its rights, or choose another place.",
    errno.EEXIST: "Remove what is there, or choose another place.",
    errno.EISDIR: "Move the folder away, or choose another path.",
    errno.ENAMETOOLONG: "Choose a shorter one.",
    errno.ENOTDIR: "Choose a path on which there are folders alone.",
    errno.EROFS: "Choose a place that can be written.",
}
# What is an argument in Python and has another name, or another look, on the command line.
_FLAGS = {
    "table": "DATA",
    "name_or_builder": "DATA",
    "data.source": "DATA",
    "folder_of_classes": "DATA",
    "path": "MODEL",
    **{
        name: f"--{name}"
        for name in ("image", "text", "label", "task", "validation", "test", "unlabelled")
    },
    **{f"data.{name}": f"--{name}" for name in ("label", "task", "validation", "test")},
    "data.unlabelled": "--unlabelled",
    "data.skip_bad_rows": "--skip-bad-rows",
    "training.epochs": "--epochs",
    "seed": "--seed",
    "label_separator": "--set data.label_separator",
    "unlabelled_rows": "--set data.unlabelled_rows",
    "allow_outside": "--set data.allow_outside",
}
_ARGUMENTS = re.compile(r"^(\W*)((?:`[\w.]+`(?:, |'?: |:))+)", re.MULTILINE)
_WORDS = [
    # In messages that give both, first Python's form.
    (re.compile(r"[\w]+=[^\s()]+ \(on the command line ([^)]+)\)"), r"\1"),
    (re.compile(r" \(In Python: [^)]*\)"), ""),
    (re.compile(r"\bset allow_outside=True"), "give --set data.allow_outside=true"),
    (re.compile(r"\btask='(\w+)'"), r"--task \1"),
]


def for_command_line(message: str) -> str:
    """Writes a message about arguments of Python functions as one about flags.

    Examples:
        >>> for_command_line("`table`: items.csv: no such file.")
        '`DATA`: items.csv: no such file.'
        >>> for_command_line("or go on: skip_bad_rows=True (on the command line --skip-bad-rows).")
        'or go on: --skip-bad-rows.'
    """

    def renamed(match: re.Match) -> str:
        return match[1] + re.sub(r"`([\w.]+)`", lambda name: _in_flags(name[1]), match[2])

    for pattern, words in _WORDS:
        message = pattern.sub(words, message)
    return _ARGUMENTS.sub(renamed, message)


def _in_flags(name: str) -> str:
    flag = _FLAGS.get(name, name)
    # Of a setting both names, since --set gives it too.
    return f"`{flag}` ({name})" if "." in name and flag.startswith("--") else f"`{flag}`"


class Terminated(KeyboardInterrupt):
    """SIGTERM, which `kill` and schedulers send; what Ctrl-C ends properly, it ends too."""


@contextmanager
def ends_on_sigterm():
    """Makes SIGTERM raise `Terminated`; a second one kills."""

    def end(*_args):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stopped(end: KeyboardInterrupt) -> tuple[str, int]:
    """What is said of a command that was stopped, and its exit code, 128 and the signal."""
    return ("Stopped by SIGTERM.", 143) if isinstance(end, Terminated) else ("Interrupted.", 130)


@contextmanager
def goes_on_later(how: str, say: Callable[[str], None] | None = None):
    """Ends the command where Ctrl-C or SIGTERM stops it, and says how to go on."""
    try:
        with ends_on_sigterm():
            yield
    except KeyboardInterrupt as end:
        said, code = stopped(end)
        (say or partial(echo, err=True))(f"{said} {how}")
        raise typer.Exit(code) from None


@contextmanager
def errors_for_people():
    """Prints what a person did wrong without a traceback; other errors keep theirs."""

    def show_warning(message, *_args, **_kwargs):
        echo(f"Note: {for_command_line(str(message))}", err=True)

    # Of native code errors alone, also where TensorFlow is not needed.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = show_warning
    # The notes on a Dataset are shown with it.
    warnings.filterwarnings("ignore", module=r"mmkd_tf\.(data|run)")
    try:
        yield
    except Exception as error:
        mistakes = (ValueError, TypeError, OSError, ImportError)
        full = is_full_disk(error)
        if os.environ.get("MMKD_TF_TRACEBACK") or not (full or isinstance(error, mistakes)):
            raise
        said = "the disk is full." if full else left_out(error) or refused_path(error)
        said = said or for_command_line(str(error))
        echo(f"Error: {said}", err=True)
        raise typer.Exit(2) from None


def refused_path(error: Exception) -> str | None:
    """What the system said of a path, and what to do; None where it is not about one."""
    if not isinstance(error, OSError) or error.errno not in _PATHS or not error.filename:
        return None
    path = error.filename2 or re.sub(r"\.unfinished\.[0-9a-f]{8}\.", "", str(error.filename))
    said = f"`{path!s:.200}`: a path that can be used. Received: {error.strerror}."
    return f"{said} {_PATHS[error.errno]}"


def left_out(error: Exception) -> str | None:
    """How to get what an install for the edge leaves out; None where it is not about that."""
    if not isinstance(error, ModuleNotFoundError) or importlib.util.find_spec("tensorflow"):
        return None
    return (
        f"this is mmkd-tf-edge, which is without {error.name} and answers with exported files "
        "alone. For all else run `pip uninstall mmkd-tf-edge` and `pip install mmkd-tf`."
    )


def is_full_disk(error: Exception) -> bool:
    """Python has an error number for it, HDF5 and TensorFlow have words."""
    words = "No space left", "quota exceeded"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return full or any(each in str(error) for each in words)
