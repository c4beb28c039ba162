"""RunFolder: where a run leaves its files, and what it finds there when it is resumed."""

import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.config import RunConfig, make_config
from mmkd_tf.setting_names import differences, full_names, grouped, read_yaml
from mmkd_tf.whole_file import whole_file

CONFIG_FILE = "config.yaml"
RESULTS_FILE = "results.json"
STATE_FOLDER = ".state"
COMPARISON_FILE = f"{STATE_FOLDER}/teacher_comparison.json"
FINGERPRINT_FILE = "data.sha256"
OLDER = {"teacher.encoders": "scratch", "student.inherit": "none"}


class RunFolder:
    """The folder of one run. Each file is written whole or not at all."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.state = self.path / STATE_FOLDER
        self.made = False

    def begin(self, config: RunConfig) -> None:
        """Makes the folder, or takes an empty one, and notes the settings."""
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"`--output`: a folder. Received: the file {self.path}.")
        if found := sorted(entry.name for entry in self.path.glob("*")):
            held = f"{len(found)} other files ({', '.join(found[:5])}). Choose another folder."
            if RESULTS_FILE in found:
                held = "a finished run. Choose another folder, or remove this one."
            elif CONFIG_FILE in found:
                held = "a run that was interrupted. Go on with --resume, or choose another folder."
            raise ValueError(
                f"`--output`: a new or empty folder. Received: {self.path}, which holds {held}"
            )
        self.made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_text(CONFIG_FILE, config.to_yaml())
        except OSError as error:
            raise ValueError(
                f"`--output`: a folder that can be written. Received: {self.path} "
                f"({error.strerror}). Choose another folder."
            ) from None

    def resume(self, given: dict) -> RunConfig:
        """Reads the settings of an interrupted run; those given again must be as they were."""
        config = self.read_config()
        if (self.path / RESULTS_FILE).is_file():
            raise ValueError(
                f"`--resume`: a run that was interrupted. Received: {self.path}, which is finished."
            )
        saved = config.model_dump()
        if changed := differences(saved, make_config(grouped(saved, given)).model_dump()):
            raise ValueError(
                "`--resume`: the settings that the run began with. Received other ones:\n"
                + "\n".join(f"- {line}" for line in changed)
                + "\nLeave them out, or begin a new run in another folder."
            )
        return config

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
        """Removes what `begin` made, if nothing came of the run; a folder that was there stays."""
        if {entry.name for entry in self.path.iterdir()} <= {CONFIG_FILE, STATE_FOLDER}:
            shutil.rmtree(self.state, ignore_errors=True)
            (self.path / CONFIG_FILE).unlink(missing_ok=True)
            if self.made:
                self.path.rmdir()

    def check_same_data(self, fingerprint: str) -> None:
        """Notes the `Dataset.fingerprint` of the run, or compares it with what was noted."""
        file = self.path / FINGERPRINT_FILE
        if not file.is_file():
            self.write_text(FINGERPRINT_FILE, fingerprint + "\n")
        elif file.read_text(encoding="utf-8").strip() != fingerprint:
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

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Writes NumPy arrays by name as one compressed file."""
        with whole_file(self.path / name) as unfinished:
            np.savez_compressed(unfinished, allow_pickle=False, **arrays)

    def save_model(self, name: str, model: keras.Model) -> None:
        """Writes `<name>.keras`."""
        with whole_file(self.path / f"{name}.keras") as unfinished:
            model.save(unfinished)

    def load_model(self, name: str) -> keras.Model | None:
        """Reads `<name>.keras`; None if it is not there yet."""
        file = self.path / f"{name}.keras"
        return keras.saving.load_model(file, compile=False) if file.is_file() else None

    def write_comparison(self, comparison: dict) -> None:
        """Notes which teacher was chosen, by what."""
        self.write_text(COMPARISON_FILE, json.dumps(comparison))

    def read_comparison(self) -> dict | None:
        """What `write_comparison` noted, also of a finished run; None if nothing was chosen yet."""
        file, results = self.path / COMPARISON_FILE, self.path / RESULTS_FILE
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
        if results.is_file():
            return json.loads(results.read_text(encoding="utf-8")).get("teacher_comparison")
        return None

    def seconds(self) -> dict[str, float]:
        """Seconds that each stage has taken so far, interrupted runs included."""
        file = self.state / "seconds.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Notes time spent on a stage."""
        self.state.mkdir(exist_ok=True)
        total = self.seconds()
        total[stage] = round(total.get(stage, 0.0) + seconds, 2)
        self.write_text(f"{STATE_FOLDER}/seconds.json", json.dumps(total))

    def finish(self) -> None:
        """Removes what only an interrupted run needs, and what a kill left half-written."""
        shutil.rmtree(self.state, ignore_errors=True)
        for leftover in self.path.glob(".*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


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
