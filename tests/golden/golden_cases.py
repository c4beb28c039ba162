"""What is run to get golden values, by make.py once and by the tests ever after.

Only what people use is used here: the command line, settings files, the public names of `mmkd_tf`
and files on disk. The one part that knows how settings are grouped is at the end: `write_settings`,
`as_flat`, `read_settings` and `read_study`.
"""

import itertools
import json
import math
import os
import re
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import yaml
from PIL import Image
from typer.testing import CliRunner

import mmkd_tf
from mmkd_tf.cli import app
from mmkd_tf.settings.groups import GENERATORS

FOLDER = Path(__file__).parent
TOLERANCE = 1e-5  # absolute below 1, relative above

# Settings of rows without labels, of calibrated files and so on, of which there were none.
YOUNGER = (
    *GENERATORS,
    "transfer_share",
    "unlabelled",
    "unlabelled_rows",
    "augment_strength",
    "restore",
    "early_stopping",
    "class_weight",
    "precision",
    "strategy",
    "quantize",
    "fast",
    "calibrate",
    "saved_model",
    "callbacks",
    "tensorboard",
)

# Of these keys the values differ from run to run or from machine to machine; their form is kept.
NOT_FROZEN = {"seconds", "peak_memory_mib", "versions", "latency_ms"}
# By key, a wider tolerance, relative above 1.
TOLERANCES = {
    # Names of layers and functions are in the files, and the converter's version too.
    "bytes": 0.05,
    # Rounding itself is what it measures, so it is another on each processor; its bound is 1e-4.
    "max_abs_logit_difference": 1e-2,
}
# The same in what is said of a file with quantised weights: its kernels round otherwise on other
# processors, where an example or two of some ten may then fall into another class.
QUANTISED_TOLERANCES = TOLERANCES | {
    name: 0.2
    for name in (
        "accuracy",
        "top1_agreement",
        "test_accuracy",
        "test_top1_agreement",
        "max_abs_logit_difference",
    )
}

COLOURS = {
    "red": (220, 30, 30),
    "yellow": (220, 220, 40),
    "green": (30, 200, 40),
    "blue": (40, 60, 220),
    "white": (240, 240, 240),
    "black": (20, 20, 20),
}
KINDS = {
    "red": "warm",
    "yellow": "warm",
    "green": "cold",
    "blue": "cold",
    "white": "grey",
    "black": "grey",
}
# What was there before there were pretrained encoders.
SCRATCH = {"teacher.encoders": "scratch", "student.inherit": "none"}
DIST = {
    "soft_target_loss": "dist",
    "temperature": 4.0,
    "soft_target_weight": 0.2,
    "hard_label_weight": 1.0,
}
SMALL = {"image_size": 16, "text_length": 4, "epochs": 2, "batch_size": 16, "seed": 0} | SCRATCH
SMALL |= {"calibrate": False}
RUNS = {
    "single_label": SMALL | DIST | {"label": "kind"},
    "multi_label": SMALL | {"label": "tags", "fusion": "weighted_sum"},
    "regression": SMALL | {"label": ["brightness", "weight"], "task": "regression"},
    "retrieval": SMALL | {"task": "retrieval"},
}
TEXT_ONLY = SMALL | DIST | {"data": "items.csv", "image": None, "label": "kind"}


def write_table(folder: Path) -> Path:
    """Writes 72 pictures of one colour over another, texts that name them, and all labels."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    lines = ["image,text,kind,tags,brightness,weight"]
    pairs = itertools.product(COLOURS, COLOURS, ("small", "big"))
    for number, (upper, lower, size) in enumerate(pairs):
        pixels = np.zeros([16, 16, 3])
        pixels[:8], pixels[8:] = COLOURS[upper], COLOURS[lower]
        pixels = np.clip(pixels + rng.normal(0, 15, pixels.shape), 1, 255).astype(np.uint8)
        path = f"pictures/{number}.png"
        Image.fromarray(pixels).save(folder / path)
        tags = "|".join(dict.fromkeys([KINDS[upper], KINDS[lower], *["big"] * (size == "big")]))
        weight = 5000 + 1000 * (size == "big") + rng.normal(0, 20)
        # One example lacks its picture, one its text.
        shown = "" if number == 5 else path
        text = "" if number == 50 else f"{upper} over {lower} {size}"
        brightness = pixels.mean() / 255
        lines.append(f"{shown},{text},{KINDS[upper]},{tags},{brightness:.4f},{weight:.1f}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "items.csv"


def write_text_table(folder: Path) -> Path:
    """Writes 60 texts of a tiny vocabulary and their kind."""
    rng = np.random.default_rng(1)
    lines = ["text,kind"]
    for number in range(60):
        first = list(COLOURS)[number % 6]
        second = rng.choice(["cup", "lamp", "chair"])
        lines.append(f"{first} {second} {number // 6},{KINDS[first]}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "items.csv"


def invoke(*arguments) -> str:
    """Runs `mmkd-tf`; what it says if it ends well."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output or repr(result.exception)
    return result.output


@contextmanager
def inside(folder: Path):
    """Works in a folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def make_run(task: str, folder: Path) -> str:
    """Makes the table and, in `out`, the run of a task; gives what is said."""
    table = write_table(folder)
    settings = write_settings(folder / "settings.yaml", RUNS[task])
    return invoke("run", table, "--config", settings, "--output", folder / "out")


def run_task(task: str, folder: Path) -> dict:
    """Makes the run of a task; gives the part of results.json that is frozen."""
    make_run(task, folder)
    return frozen_results(folder / "out")


def frozen_results(run: Path) -> dict:
    """Reads results.json of a run's folder, with its settings flat."""
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    results.pop("can_help", None)  # which was not asked then
    if results.pop("teacher_comparison", None) or results.pop("inherited"):
        raise AssertionError("nothing was inherited then")
    results["dataset"].pop("unknown_words", None)  # which was not said then
    results.pop("transfer", None)
    results.pop("finetuning", None)
    if results.pop("calibration") is not None:
        raise AssertionError("no file was calibrated then")
    for key in ("test_comparison", "reliability", "history", "verdict"):  # which were not kept
        results.pop(key, None)
    for made in results["exports"]:
        made.pop("latency_spread_ms", None)
        made.pop("cut_texts", None)
        # A level, and a figure of each, that were not there then.
        made["ladder"] = [rung for rung in made["ladder"] if rung["level"] != "dynamic4"]
        for rung in made["ladder"]:
            rung.pop("good_agreement", None)
    return frozen(results | {"config": as_flat(results["config"])})


def frozen(tree, *, key: str = ""):
    """Hides what differs from run to run or from place to place."""
    if isinstance(tree, dict):
        return {
            name: frozen(value, key=key if key in NOT_FROZEN else name)
            for name, value in tree.items()
        }
    if isinstance(tree, list):
        return [frozen(value, key=key) for value in tree]
    if key in NOT_FROZEN:
        return "*"
    if isinstance(tree, str):  # the table of a test lies in a new folder each time
        return re.sub(r"\S*[/\\]items\.csv", "items.csv", tree)
    return tree


def differences(was, now, path: str = "", key: str = "", tolerances=TOLERANCES) -> list[str]:
    """Lists every place where two trees differ: keys, types, values beyond the tolerance."""
    where = path or "all"
    if isinstance(was, dict) and isinstance(now, dict):
        if was.get("quantize", was.get("level", "float32")) != "float32":
            tolerances = QUANTISED_TOLERANCES
        found = [f"{path}.{name}: was {was[name]!r}, is gone" for name in was if name not in now]
        found += [f"{path}.{name}: is new, {now[name]!r}" for name in now if name not in was]
        for name in was:
            if name in now:
                found += differences(was[name], now[name], f"{path}.{name}", name, tolerances)
        return found
    if isinstance(was, list) and isinstance(now, list):
        if len(was) != len(now):
            return [f"{where}: was {len(was)} long, now {len(now)}: {was!r}, {now!r}"]
        pairs = enumerate(zip(was, now, strict=True))
        listed = (differences(a, b, f"{path}[{i}]", key, tolerances) for i, (a, b) in pairs)
        return [difference for found in listed for difference in found]
    if _is_number(was) and _is_number(now):
        tolerance = tolerances.get(key, TOLERANCE) * max(1.0, abs(was))
        same = math.isclose(was, now, rel_tol=0, abs_tol=tolerance)
        return [] if same else [f"{where}: was {was!r}, now {now!r}"]
    return [] if was == now and type(was) is type(now) else [f"{where}: was {was!r}, now {now!r}"]


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_same(was, now) -> None:
    """Fails with a list of all differences."""
    found = differences(was, now)
    assert not found, f"{len(found)} golden values differ:\n" + "\n".join(found)


def read_golden(name: str):
    """Reads a golden JSON file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def distillation_history() -> dict[str, list[float]]:
    """Trains a tiny student with the first defaults of Distiller; data and weights are fixed."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 64)
    image = (rng.normal(0, 1, [64, 8, 8, 3]) + y[:, None, None, None]).astype("float32")
    text = ((y[:, None] * 3 + rng.integers(0, 5, [64, 4])) % 10 + 1).astype("int32")
    distiller = mmkd_tf.Distiller(
        student=_tiny_model(4, seed=1, name="student"),
        teacher=_tiny_model(16, seed=2, name="teacher"),
    )
    soft = mmkd_tf.SoftTargets(4.0, weight=0.2, loss=mmkd_tf.losses.dist_loss)
    distiller.compile("adam", terms=[soft], hard_label_weight=1.0)
    x = {"image": image, "text": text}
    history = distiller.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return history.history


def _tiny_model(units: int, *, seed: int, name: str) -> keras.Model:
    from keras import layers

    def started(offset):
        return keras.initializers.GlorotUniform(seed=10 * seed + offset)

    image = keras.Input([8, 8, 3], name="image")
    text = keras.Input([4], dtype="int32", name="text")
    seen = layers.Conv2D(units, 3, activation="tanh", kernel_initializer=started(0))(image)
    seen = layers.GlobalAveragePooling2D()(seen)
    read = layers.Embedding(12, units, embeddings_initializer=started(1))(text)
    read = layers.GlobalAveragePooling1D()(read)
    both = layers.Concatenate()([seen, read])
    hidden = layers.Dense(units, activation="tanh", kernel_initializer=started(2))(both)
    logits = layers.Dense(3, kernel_initializer=started(3))(hidden)
    return keras.Model({"image": image, "text": text}, logits, name=name)


# How settings are grouped, here alone. The golden files keep them flat, as they first were.


def write_settings(path: Path, flat: dict) -> Path:
    """Writes the settings of a run as a YAML file."""
    path.write_text(yaml.safe_dump(flat, sort_keys=False), encoding="utf-8")
    return path


def as_flat(settings: dict) -> dict:
    """Gives settings as they are dumped now by the flat names that they first had."""
    groups = {key: value for key, value in settings.items() if isinstance(value, dict)}
    flat = {key: value for key, value in settings.items() if key not in groups}
    flat |= groups["data"] | groups["training"] | groups["export"] | groups["distillation"]
    flat["data"] = flat.pop("source")
    if flat.pop("views") is not None:  # which there was not
        raise AssertionError("views were not to be set")
    for name in YOUNGER:
        flat.pop(name, None)
    if flat["hard_label_weight"] is None:  # as the default was written then
        flat["hard_label_weight"] = 1.0
    teacher, student = groups["teacher"], groups["student"]
    if (teacher["encoders"], student["inherit"]) != ("scratch", "none"):
        raise AssertionError("nothing was pretrained then")
    flat["teacher"] = {"baseline": "document"}.get(*2 * (teacher["architecture"],))
    flat |= {key: teacher[key] for key in ("fusion", "experts", "embedding_dim", "learning_rate")}
    flat["teacher_modality_dropout"] = teacher["modality_dropout"]
    flat["modality_dropout"] = student["modality_dropout"]
    flat["student_learning_rate"] = student["learning_rate"]
    flat["student_modalities"] = student["inputs"]
    if student["fusion"] not in (None, teacher["fusion"]):
        raise AssertionError("both models were to have one fusion")
    defaults = {"image_size": 64, "text_length": None, "vocabulary_size": 2000}
    for name, options in (("image", ["size"]), ("text", ["length", "vocabulary_size"])):
        found = groups["inputs"].get(name)
        flat[name] = found and found["column"]
        for option in options:
            key = option if option == "vocabulary_size" else f"{name}_{option}"
            flat[key] = found[option] if found else defaults[key]
            flat[f"student_{key}"] = found["student"][option] if found else None
    return flat


def read_settings(path: Path | None) -> dict:
    """Reads a YAML file of a run's settings, defaults added; by flat names."""
    from mmkd_tf.config import make_config

    return as_flat(make_config(SCRATCH, path).model_dump())


def read_study(path: Path) -> dict[str, dict]:
    """Reads a study's YAML file: by dataset and recipe, the settings of seed 0, by flat names."""
    from mmkd_tf.study_config import make_study

    study = make_study({"settings": SCRATCH}, path)
    runs = itertools.product(study.datasets, [None, *study.recipes])
    found = {
        f"{dataset}, {recipe}": as_flat(study.run_config(dataset, 0, recipe).model_dump())
        for dataset, recipe in runs
    }
    return {"seeds": study.seeds, "runs": found}
