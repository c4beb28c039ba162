"""What tells the files of one run from those of others, and keeps two runs out of one folder."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from mmkd_tf.distill.checks import broken_weight_problems
from mmkd_tf.files.whole import whole_file
from mmkd_tf.losses.checks import refuse
from mmkd_tf.models.inputs import input_names

if sys.platform != "win32":
    import fcntl

MANIFEST_FILE = "manifest.json"
LOCK_FILE = ".lock"
_KEYS = {"settings": dict, "data": str | None, "files": dict}


@dataclass
class Manifest:
    """The settings and data of a run, and the checksums of the files that later stages rest on.

    Attributes:
        folder: The run's.
        settings: By group, as the run began with them.
        data: The `Dataset.fingerprint`; None until the data was read.
        files: By path from the folder, SHA-256 in 64 hexadecimal digits, in the order of making.
    """

    folder: Path
    settings: Mapping[str, Any]
    data: str | None
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """Reads that of a folder; None in one that was begun before there were any."""
        file = folder / MANIFEST_FILE
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if all(isinstance(content[name], kind) for name, kind in _KEYS.items()) and all(
                isinstance(each, str) for each in content["files"].values()
            ):
                return cls(folder, **{name: content[name] for name in _KEYS})
            reason = "other values"
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            reason = str(error) or type(error).__name__
        raise ValueError(
            f"`{file}`: the checksums of this run's files. Received: a damaged file ({reason}). "
            "Put it back, or remove it if all files of the folder are as the run left them."
        )

    def write(self) -> None:
        """Writes `manifest.json`."""
        content = {name: getattr(self, name) for name in _KEYS}
        with whole_file(self.folder / MANIFEST_FILE) as unfinished:
            text = json.dumps(content, indent=1, ensure_ascii=False)
            unfinished.write_text(text + "\n", encoding="utf-8")

    def note(self, name: str, written: Path) -> None:
        """Notes a file by its name; `written` is where it is until it gets that name.

        A kill between both then leaves a name without a file, and no file that nobody knows.
        """
        self.files[name] = checksum(written)
        self.write()

    def key(self, role: str) -> str:
        """Tells the training of a role in this run from all others."""
        text = json.dumps([self.settings, self.data], sort_keys=True, ensure_ascii=False)
        return f"{role} of {hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def problems(self, names: Iterable[str]) -> list[str]:
        """Says which of these files are not those that the run has made."""
        problems = []
        for name in names:
            file = self.folder / name
            if not file.is_file():
                continue
            expected, found = self.files.get(name), checksum(file)
            if found != expected:
                made = f"SHA-256 {expected[:12]}" if expected else "none of this name"
                problems.append(
                    f"`{file}`: the file that this run has made ({made}). Received: another one "
                    f"({found[:12]}), exchanged or damaged. Put the run's own back, or remove it: "
                    "what it held is then made again. If it is meant to be another, remove "
                    f"{MANIFEST_FILE} instead."
                )
        return problems


def checksum(file: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_model(file: Path, like: keras.Model | None = None) -> keras.Model:
    """Reads a model that a run has trained.

    Args:
        file: The `.keras` file, which is there.
        like: A model of the same inputs and outputs, not trained.

    Raises:
        ValueError: If it is damaged, of other inputs or outputs, or holds NaN.
    """
    try:
        model = keras.saving.load_model(file, compile=False)
        problems = broken_weight_problems(model, argument=file.stem)
        if like is not None and (found := _form(model)) != (wanted := _form(like)):
            problems.append(f"Of inputs and outputs {wanted}. Received: {found}.")
    except Exception as error:  # Keras has errors of any kind for damaged files
        said = str(error).strip().splitlines() or [type(error).__name__]
        no_archive = "File not found" in said[0]  # as Keras says of what is there
        problems = [f"Received: {'no whole Keras file' if no_archive else said[0]:.200}."]
    advice = "Remove it: the model is then trained again with --resume."
    refuse([f"`{file}`: a model that this run has trained. {each} {advice}" for each in problems])
    return model


def _form(model: keras.Model) -> tuple:
    return sorted(input_names(model)), [tuple(output.shape) for output in model.outputs]


class FolderLock:
    """Held by the process that works in a folder; the system takes it from one that has died.

    On Windows, which has no such locks, nothing is held.

    Args:
        folder: The folder, which is there.

    Raises:
        ValueError: If another process holds it.
    """

    def __init__(self, folder: Path):
        self._file = open(folder / LOCK_FILE, "a+", encoding="utf-8")
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            who = self._file.readline(20).strip() or "unknown"
            self._file.close()
            raise ValueError(
                f"`--output`: a folder in which no other run is at work. Received: {folder}, where "
                f"process {who} is. Wait for its end, or choose another folder."
            ) from None
        except OSError:
            return  # some disks of networks have no locks
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Lets others work in the folder."""
        self._file.close()
