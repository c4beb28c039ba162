"""RunFolder: where a run leaves its files, and what it finds there when it is resumed."""

import io
import json
import platform
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkd_tf.config import RunConfig, make_config
from mmkd_tf.distill.checks import broken_weight_problems
from mmkd_tf.distill.epochs import Backup
from mmkd_tf.distill.workers import from_chief, is_chief
from mmkd_tf.files.whole import whole_file
from mmkd_tf.losses.checks import refuse
from mmkd_tf.report.history import HISTORY_FILE, History
from mmkd_tf.runs.manifest import LOCK_FILE, MANIFEST_FILE, FolderLock, Manifest, read_model
from mmkd_tf.settings.names import differences, full_names, grouped, read_yaml

CONFIG_FILE = "config.yaml"
RESULTS_FILE = "results.json"
STATE_FOLDER = ".state"
COMPARISON_FILE = f"{STATE_FOLDER}/teacher_comparison.json"
FINGERPRINT_FILE = "data.sha256"
# Beside the models, files of a run's state that the manifest lists.
TRANSFER_FILE, TUNED_FILE = f"{STATE_FOLDER}/transfer.json", f"{STATE_FOLDER}/tuned.npz"
_SUFFIXES = ".csv .html .json .keras .md .npz .sha256 .tflite .txt .yaml".split()
KEPT = (COMPARISON_FILE, TRANSFER_FILE, TUNED_FILE)
OLDER = {"teacher.encoders": "scratch", "student.inherit": "none"}


class RunFolder:
    """The folder of one run. Each file is written whole or not at all."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.state = self.path / STATE_FOLDER
        self.begun, self.made = False, False
        self.strategy: tf.distribute.Strategy | None = None
        self._lock: FolderLock | None = None
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest | None:
        """Tells the run's own files; None where the folder has no manifest."""
        if self._manifest is None:
            self._manifest = Manifest.read(self.path)
        return self._manifest

    @property
    def follows(self) -> bool:
        """Whether this is the folder of one of several processes that is not the chief."""
        return self.strategy is not None and not is_chief()

    def begin(self, config: RunConfig) -> None:
        """Makes the folder, or takes an empty one, and notes the settings."""
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"`--output`: a folder. Received: the file {self.path}.")
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "`--output`: a path in UTF-8, the only ones that TensorFlow writes to. Received: "
                f"{str(self.path)!a}. Choose another name."
            ) from None
        self._check_empty()
        self.made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._check_empty()  # another run may have begun and ended meanwhile
                self._manifest = Manifest(self.path, config.model_dump(), None, {})
                self.write_text(CONFIG_FILE, config.to_yaml())
                self._manifest.write()
        except OSError as error:
            raise ValueError(
                f"`--output`: a folder that can be written. Received: {self.path} "
                f"({error.strerror}). Choose another folder."
            ) from None
        self.begun = True

    def _check_empty(self) -> None:
        found = sorted(e.name for e in self.path.glob("*") if e.name != LOCK_FILE)
        if not found:
            return
        held = f"{len(found)} other files ({', '.join(found[:5])}). Choose another folder."
        if RESULTS_FILE in found:
            held = "a finished run. Choose another folder, or remove this one."
        elif CONFIG_FILE in found:
            held = "a run that was interrupted. Go on with --resume, or choose another folder."
        raise ValueError(
            f"`--output`: a new or empty folder. Received: {self.path}, which holds {held}"
        )

    def resume(self, given: dict) -> RunConfig:
        """Reads the settings of an interrupted run; those given again must be as they were.

        Raises:
            ValueError: If another process is at work in the folder, or settings or files are not
                those of the run; all of them are listed.
        """
        if (self.path / RESULTS_FILE).is_file():
            raise ValueError(
                f"`--resume`: a run that was interrupted. Received: {self.path}, which is finished."
            )
        if self.manifest is not None and not (self.path / CONFIG_FILE).is_file():
            kept = make_config(grouped(self.manifest.settings))
            self.write_text(CONFIG_FILE, kept.to_yaml())
        config = self.read_config()
        with self._locked():
            saved = config.model_dump()
            if changed := differences(saved, make_config(grouped(saved, given)).model_dump()):
                raise ValueError(
                    "`--resume`: the settings that the run began with. Received other ones:\n"
                    + "\n".join(f"- {line}" for line in changed)
                    + "\nLeave them out, or begin a new run in another folder."
                )
            manifest = self.manifest
            if manifest is None:  # begun before there were manifests: all files are its own
                self._manifest = manifest = Manifest(self.path, saved, None, {})
                for name in self._made():
                    manifest.note(name, self.path / name)
                manifest.write()
            refuse(_strange(manifest, saved, self._made()))
        return config

    def join(self, strategy: tf.distribute.Strategy) -> None:
        """Has the folders of several processes, each with its own, begin alike and stay so.

        Those of all but the chief take over what the chief's holds, and from now on each
        `artefact` of its. Kept soft targets each process makes for itself.

        Raises:
            ValueError: If the chief's run has other settings.
        """
        self.strategy = strategy
        files = [self.path / CONFIG_FILE, *self.path.glob("*.keras"), self.path / HISTORY_FILE]
        files += [self.path / FINGERPRINT_FILE, self.path / MANIFEST_FILE]
        for pattern in ("*", "*/epoch-*.npz", "*/best.npz"):
            files += self.state.glob(pattern)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for file in filter(Path.is_file, files):
                archive.write(file, file.relative_to(self.path))
        data = from_chief(packed.getvalue(), strategy)
        if not self.follows:
            return
        own = self.read_config().model_dump()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(self.path)
        self._manifest = Manifest.read(self.path)
        if changed := differences(self.read_config().model_dump(), own):
            raise ValueError(
                "`training.strategy`: the same settings in all processes. Received other ones than "
                "the first process has:\n" + "\n".join(f"- {line}" for line in changed)
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes out of the folder from now on, or until this fails."""
        self._lock = self._lock or FolderLock(self.path)
        try:
            yield
        except BaseException:
            self.release()
            raise

    def _made(self) -> list[str]:
        """Files that later stages read, by path from the folder, of those that are there.

        What a kill left half-written, whose name begins with a point, is none of them.
        """
        files = [*self.path.glob("[!.]*.keras"), *self.state.glob("[!.]*.keras")]
        files += [self.path / name for name in KEPT]
        return [str(file.relative_to(self.path)) for file in files if file.is_file()]

    def read_config(self) -> RunConfig:
        """Reads the settings of the run in this folder."""
        file = self.path / CONFIG_FILE
        if not file.is_file():
            raise ValueError(
                f"`{self.path}`: the folder of a run. Received: one without {CONFIG_FILE}. "
                "Begin a run with mmkd-tf run."
            )
        values = full_names(read_yaml(file))
        # Runs of before there were pretrained encoders, or calibrated files.
        older = {} if "teacher.encoders" in values else OLDER
        older = older | ({} if "export.calibrate" in values else {"export.calibrate": False})
        return make_config(older, file)

    def give_up(self) -> None:
        """Removes what `begin` made, if nothing came of the run; a folder that was there stays.

        So does a run that was resumed: what keeps it from going on may pass.
        """
        ours = CONFIG_FILE, MANIFEST_FILE, LOCK_FILE, FINGERPRINT_FILE
        if self.begun and {entry.name for entry in self.path.iterdir()} <= {*ours, STATE_FOLDER}:
            shutil.rmtree(self.state, ignore_errors=True)
            for name in ours:
                (self.path / name).unlink(missing_ok=True)
            if self.made:
                self.path.rmdir()
        self.release()

    def release(self) -> None:
        """Lets other processes work in the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def check_same_data(self, fingerprint: str) -> None:
        """Notes the `Dataset.fingerprint` of the run, or compares it with what was noted.

        And with the chief's where there are several processes.
        """
        strategy = self.strategy
        if strategy and from_chief(fingerprint.encode(), strategy) != fingerprint.encode():
            raise ValueError(
                "`DATA`: the rows that the first process reads. Received: others, by classes, "
                "split or vocabulary. Give all machines the same table and picture files."
            )
        file, noted = self.path / FINGERPRINT_FILE, self.manifest and self.manifest.data
        if noted is None and file.is_file():
            noted = file.read_text(encoding="utf-8", errors="replace").strip()
        if noted in (None, fingerprint):
            if not file.is_file():
                self.write_text(FINGERPRINT_FILE, fingerprint + "\n")
            if self._manifest is not None and self._manifest.data is None:
                self._manifest.data = fingerprint
                self._manifest.write()
        else:
            raise ValueError(
                f"`{self.path}`: the data that the run began with. Received: data whose rows, "
                "classes, split or vocabulary have changed since. Restore them, or begin a new run."
            )

    def check_space(self, num_bytes: int) -> None:
        """Refuses to begin where the disk would fill up."""
        free = shutil.disk_usage(self.path).free
        if free < num_bytes:
            raise ValueError(
                f"`--output`: a disk with at least {num_bytes / 2**20:,.0f} MiB free. Received: "
                f"{self.path} with {free / 2**20:,.0f} MiB. Free some space or choose another disk."
            )

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file; `name` may lie in a folder within."""
        with whole_file(self.path / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")

    @contextmanager
    def artefact(self, name: str) -> Iterator[Path]:
        """As `whole_file`, of a file that later stages rest on: the manifest gets its checksum.

        Of several processes each gets the chief's.
        """
        with whole_file(self.path / name) as unfinished:
            yield unfinished
            if self.strategy is not None:
                unfinished.write_bytes(from_chief(unfinished.read_bytes(), self.strategy))
            if self.manifest is not None:
                (self.path / name).unlink(missing_ok=True)  # else a kill leaves it with a new sum
                self.manifest.note(name, unfinished)

    def backup(self, role: str) -> Backup:
        """Where the training of a role keeps its state, and by what it is known."""
        return Backup(self.state / role, self._manifest.key(role) if self._manifest else "")

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Writes NumPy arrays by name as one compressed file."""
        with whole_file(self.path / name) as unfinished:
            np.savez_compressed(unfinished, allow_pickle=False, **arrays)

    def save_model(self, name: str, model: keras.Model) -> keras.Model:
        """Writes `<name>.keras`; a ValueError if the model has diverged.

        Gives the model; of several processes, each has the chief's.
        """
        refuse(broken_weight_problems(model, argument=name))
        with self.artefact(f"{name}.keras") as unfinished:
            model.save(unfinished)
        return read_model(self.path / f"{name}.keras", model) if self.follows else model

    def load_model(self, name: str, like: keras.Model | None = None) -> keras.Model | None:
        """Reads `<name>.keras`; None if it is not there yet.

        Args:
            name: The role, or its path from the folder.
            like: A model of the same inputs and outputs, not trained.

        Raises:
            ValueError: If it is not the run's own, is damaged, is of another kind or holds NaN.
        """
        file = self.path / f"{name}.keras"
        if not file.is_file():
            return None
        if self.manifest is not None:
            refuse(self.manifest.problems([f"{name}.keras"]))
        return read_model(file, like)

    def write_comparison(self, comparison: dict) -> None:
        """Notes which teacher was chosen, by what."""
        with self.artefact(COMPARISON_FILE) as unfinished:
            unfinished.write_text(json.dumps(comparison), encoding="utf-8")

    def read_comparison(self) -> dict | None:
        """What `write_comparison` noted, also of a finished run; None if nothing was chosen yet.

        One that is damaged is made again of the candidates, which are there.
        """
        file, results = self.path / COMPARISON_FILE, self.path / RESULTS_FILE
        if file.is_file():
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
                if {"chosen", "candidates", "num_examples"} <= set(found):
                    return found
            except (OSError, ValueError, TypeError, RecursionError):
                pass
            warnings.warn(f"{file} is damaged: the teacher is chosen again.", stacklevel=2)
            return None
        if not results.is_file():
            return None
        try:
            return json.loads(results.read_text(encoding="utf-8")).get("teacher_comparison")
        except (ValueError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"`{results}`: the results of a run, as JSON. Received: a damaged file ({error}). "
                "Put it back, or make the run anew with its config.yaml."
            ) from None

    def seconds(self) -> dict[str, float]:
        """Seconds that each stage has taken so far, interrupted runs included.

        What can't be read counts for nothing: no run stops for its times.
        """
        try:
            found = json.loads((self.state / "seconds.json").read_text(encoding="utf-8"))
            return {str(name): float(seconds) for name, seconds in found.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Notes time spent on a stage."""
        self.state.mkdir(exist_ok=True)
        total = self.seconds()
        total[stage] = round(total.get(stage, 0.0) + seconds, 2)
        self.write_text(f"{STATE_FOLDER}/seconds.json", json.dumps(total))

    def finish(self) -> None:
        """Removes what only an interrupted run needs, and what a kill left half-written."""
        self.release()
        if self._manifest is not None:
            for name in [name for name in self._manifest.files if "/" in name]:
                del self._manifest.files[name]
            self._manifest.write()
        shutil.rmtree(self.state, ignore_errors=True)
        for leftover in self.path.glob(".*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _strange(manifest: Manifest, settings: dict, made: list[str]) -> list[str]:
    """Says which settings and files of a run's folder are not the run's own, or are missing."""
    folder, problems = manifest.folder, []
    changed = [
        line
        for line in differences(make_config(grouped(manifest.settings)).model_dump(), settings)
        if not line.startswith("data.source:")  # a table that was moved is known by its rows
    ]
    if changed:
        problems.append(
            f"`{folder / CONFIG_FILE}`: the settings that the run began with. Received other "
            "ones:\n" + "\n".join(f"- {line}" for line in changed) + "\nPut them back, or begin a "
            "new run in another folder."
        )
    try:
        History(folder).read()
    except ValueError as error:
        problems.append(str(error))
    problems += [
        f"`{entry}`: a file that the run writes. Received: a folder. Move it away."
        for entry in sorted(folder.iterdir())
        if entry.suffix in _SUFFIXES and entry.is_dir()
    ]
    problems += manifest.problems(dict.fromkeys([*manifest.files, *made]))
    states = folder / STATE_FOLDER
    learned = [*folder.glob("student.keras"), *states.glob("student/epoch-*")]
    return problems + [
        f"`{folder / name}`: what {learned[0]} has learned from. Received: none. Put it back, or "
        f"remove {' and '.join(map(str, learned))} too: all is then made again."
        for name in manifest.files
        if learned and _teaches(name) and not (folder / name).is_file()
        # A training that has its last state gives the same model.
        if not any((states / name.removesuffix(".keras")).glob("epoch-*"))
    ]


def _teaches(name: str) -> bool:
    """Whether a student rests on a file: on models other than students, and on further rows."""
    model = name.endswith(".keras") and "/" not in name and not name.startswith("student")
    return model or name == TRANSFER_FILE


def default_folder(name: str) -> Path:
    """Finds a folder that is not there yet: `saved_models/<name>`, `<name>-2` and so on."""
    parent, number = Path("saved_models"), 1
    while (path := parent / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return path


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, of what every training rests on, and of further packages, by name."""
    names = ("mmkd-tf", "tensorflow", "keras", "numpy", *packages)
    return {"python": platform.python_version()} | {name: version(name) for name in names}
