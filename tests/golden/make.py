"""Makes the golden files: what people rely on, as the code of the day gives it.

A golden changes only in a commit of its own that says why. To make one anew, name its part:

    python tests/golden/make.py results history models run study settings

The models and folders stand for files that people have: they are made once and never again, so
that later code must read what earlier code wrote. They are the only parts that look inside the
package, as no test may.
"""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FOLDER = Path(__file__).parent
MODELS, RUN, STUDY, SETTINGS = (FOLDER / name for name in ("models", "run", "study", "settings"))


def main(parts: list[str]) -> None:
    """Makes the parts that are named."""
    import tensorflow as tf

    # As under pytest, see tests/conftest.py, for the same threads.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    for part in parts:
        PARTS[part]()


def make_results() -> None:
    """results-<task>.json: what a run of each task gives."""
    from golden_cases import RUNS, run_task

    for task in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            write_json(FOLDER / f"results-{task}.json", run_task(task, Path(folder)))


def make_history() -> None:
    """history.json: what `Distiller.fit` gives."""
    from golden_cases import distillation_history

    write_json(FOLDER / "history.json", distillation_history())


def make_models() -> None:
    """models/: saved models, inputs and what each answers, and a TFLite file of one."""
    import keras
    import numpy as np
    from golden_cases import KINDS, write_table

    import mmkd_tf
    from mmkd_tf.models.named_fusions import FUSION_NAMES, student_fusion
    from mmkd_tf.models.seeding import seeded
    from mmkd_tf.models.two_tower import build_two_tower_student

    MODELS.mkdir(exist_ok=True)
    options = mmkd_tf.DatasetOptions(image_size=16, text_length=4)
    with tempfile.TemporaryDirectory() as folder:
        table = write_table(Path(folder))
        dataset = mmkd_tf.from_table(table, label="kind", options=options)
    train = dataset.splits["train"]
    models = {
        name: mmkd_tf.build_student(dataset, fusion=student_fusion(name)) for name in FUSION_NAMES
    }
    models["retrieval"] = build_two_tower_student(dataset, embedding_dim=16)
    x = {name: np.concatenate([values] * 2)[:64] for name, values in train.inputs.items()}
    # The last ones lack their picture or their text.
    x["image"][-4:-2], x["text"][-2:] = 0, 0
    np.savez_compressed(MODELS / "inputs.npz", **x)
    outputs = {}
    for seed, (name, model) in enumerate(models.items()):
        model = seeded(model, seed=seed)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if name != "retrieval":  # weights and statistics as training leaves them
            model.compile(keras.optimizers.Adam(0.01), loss)
            model.fit(train.inputs, train.labels, batch_size=16, epochs=20, verbose=0)
        bare = type(model).from_config(model.get_config())  # without the optimizer's numbers
        bare.set_weights(model.get_weights())
        bare.save(MODELS / f"{name}.keras")
        pack(MODELS / f"{name}.keras")
        outputs[name] = bare.predict(x, verbose=0)
    np.savez_compressed(MODELS / "outputs.npz", **outputs)
    words = dataset.modalities["text"].vocabulary
    (MODELS / "vocabulary.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    mmkd_tf.export_tflite(
        keras.saving.load_model(MODELS / "concatenation.keras"),
        MODELS / "concatenation.tflite",
        class_names=sorted(set(KINDS.values())),
        examples=x,
        vocabulary=words,
    )


def make_run() -> None:
    """run/: a run that was interrupted, and the results of one that was not."""
    from golden_cases import (
        TEXT_ONLY,
        frozen_results,
        inside,
        invoke,
        write_settings,
        write_text_table,
    )
    from mmkd_tf.distill.checkpoint import Checkpoint
    from typer.testing import CliRunner

    from mmkd_tf.cli import app

    begin_anew(RUN)
    write_text_table(RUN)
    after_epoch = Checkpoint.on_epoch_end

    def interrupted(self, epoch, logs=None):
        after_epoch(self, epoch, logs)
        if self.folder.name == "student_alone":
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as elsewhere, inside(RUN):
        settings = write_settings(Path(elsewhere) / "settings.yaml", TEXT_ONLY)
        invoke("run", "--config", settings, "--output", Path(elsewhere) / "out")
        write_json(FOLDER / "results-resumed.json", frozen_results(Path(elsewhere) / "out"))
        Checkpoint.on_epoch_end = interrupted
        try:
            arguments = ["run", "--config", str(settings), "--output", "out"]
            assert CliRunner().invoke(app, arguments).exit_code == 130
        finally:
            Checkpoint.on_epoch_end = after_epoch
    # Megabytes that going on does not ask for: the teacher is trained and saved.
    shutil.rmtree(RUN / "out" / ".state" / "teacher")
    pack(RUN / "out" / "teacher.keras")


def make_study() -> None:
    """study/: a study of one seed, and what it says."""
    import yaml
    from golden_cases import TEXT_ONLY, frozen, inside, invoke, write_text_table

    begin_anew(STUDY)
    write_text_table(STUDY)
    settings = {name: value for name, value in TEXT_ONLY.items() if name not in ("data", "seed")}
    content = {"seeds": 1, "settings": settings, "datasets": {"items": {"data": "items.csv"}}}
    (STUDY / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with inside(STUDY):
        invoke("study", "--config", "study.yaml", "--output", "out", "--jobs", 1)
    found = json.loads((STUDY / "out" / "study.json").read_text(encoding="utf-8"))
    write_json(FOLDER / "study.json", frozen(found))
    # Megabytes that a further seed does not ask for.
    (STUDY / "out" / "items" / "seed-0" / "teacher.keras").unlink()
    (STUDY / "out" / "study.png").unlink()


def make_settings() -> None:
    """settings/: files of settings as they are written today, and what they mean."""
    from golden_cases import read_settings, read_study

    from mmkd_tf.config import RunConfig

    SETTINGS.mkdir(exist_ok=True)
    (SETTINGS / "config-default.yaml").write_text(RunConfig().to_yaml(), encoding="utf-8")
    many = RunConfig(
        data="items.parquet",
        image="photo",
        text="title",
        label=["price", "weight"],
        task="regression",
        label_separator=";",
        validation="held_out.csv",
        test=0.2,
        skip_bad_rows=True,
        allow_outside=True,
        image_size=96,
        text_length=20,
        vocabulary_size=500,
        fusion="cross_attention",
        student_modalities=["image", "text"],
        student_image_size=32,
        student_text_length=8,
        student_vocabulary_size=200,
        modality_dropout={"image": 0.2, "text": 0.3},
        teacher_modality_dropout=0.05,
        experts=True,
        embedding_dim=32,
        soft_target_loss="squared",
        temperature=2.5,
        hard_label_weight=0.5,
        soft_target_weight=0.7,
        modality_hint_weight=0.1,
        relation_weight=0.2,
        on_wrong_teacher="skip",
        epochs=7,
        batch_size=24,
        learning_rate=1e-3,
        student_learning_rate=3e-3,
        weight_decay=1e-4,
        augment=False,
        seed=11,
        robustness=False,
        text_input="bytes",
        max_accuracy_loss=0.02,
        author="Somebody",
        licence="CC-BY-4.0",
    )
    (SETTINGS / "config-changed.yaml").write_text(many.to_yaml(), encoding="utf-8")
    (SETTINGS / "config-short.yaml").write_text(SHORT, encoding="utf-8")
    (SETTINGS / "study.yaml").write_text(STUDY_FILE, encoding="utf-8")
    files = [f"config-{name}.yaml" for name in ("default", "changed", "short")]
    meaning = {name: read_settings(SETTINGS / name) for name in files}
    meaning["study.yaml"] = read_study(SETTINGS / "study.yaml")
    write_json(SETTINGS / "meaning.json", meaning)


SHORT = """\
# Written by hand: some settings, the others by default.
data: emoji
text: none
fusion: gated
modality_dropout: {image: 0.25}
temperature: 3
"""
STUDY_FILE = """\
# Written by hand.
seeds: 3
settings:
  epochs: 4
  batch_size: 16
  image_size: 32
datasets:
  emoji:
  small:
    data: emoji
    image_size: 16
    experts: true
  pictures:
    data: emoji
    student_modalities: [image]
    student_learning_rate: 0.002
recipes:
  default:
  hinton:
    soft_target_loss: divergence
    temperature: 4
    soft_target_weight: 0.9
    hard_label_weight: 0.1
  hints: {modality_hint_weight: 0.5, relation_weight: 0.1, on_wrong_teacher: correct}
"""


def begin_anew(folder: Path) -> None:
    """Empties a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def pack(path: Path) -> None:
    """Compresses a `.keras` file, which is a zip archive; what is in it stays to the byte."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def write_json(path: Path, content) -> None:
    """Writes a golden JSON file."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


PARTS = {
    "results": make_results,
    "history": make_history,
    "models": make_models,
    "run": make_run,
    "study": make_study,
    "settings": make_settings,
}

if __name__ == "__main__":
    unknown = [part for part in sys.argv[1:] if part not in PARTS]
    if unknown or len(sys.argv) == 1:
        sys.exit(f"Parts are: {', '.join(PARTS)}.")
    main(sys.argv[1:])
