"""What each of the two processes of `test_workers.py` does, and what of it one device does too."""

import dataclasses
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).parent))  # also where pytest looks for doctests

import keras
import numpy as np
import tensorflow as tf
from test_replicas import ONE, Logs, few, model

from mmkd_tf import run
from mmkd_tf.config import make_config
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.replicas import strategy_by_name
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.training import distill, train
from mmkd_tf.distill.workers import cluster
from mmkd_tf.report.progress import Reporter, progress_console
from mmkd_tf.runs.folder import RunFolder

LABELS = dataclasses.replace(ONE, epochs=3, restore="best", early_stopping=1, batch_size=5)


class Interrupted(keras.callbacks.Callback):
    """Ends a training after its first epoch."""

    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def learn_from_labels(strategy, **options):
    trained, logs = model(), Logs()
    recipe = dataclasses.replace(LABELS, strategy=strategy)
    callbacks = [logs, *options.pop("callbacks", [])]
    train(trained, few(), recipe, callbacks=callbacks, **options)
    return trained, logs.epochs


def learn_from_teacher(strategy, folder):
    student, logs, dataset = model(), Logs(), few()
    teacher = cache_soft_targets(
        teacher=model(5, seed=1), dataset=dataset, folder=folder / "kept", augment=False
    )
    distill(
        student=student,
        teacher=teacher,
        dataset=dataset,
        recipe=dataclasses.replace(ONE, strategy=strategy),
        terms=[SoftTargets(2.0, 0.5)],
        callbacks=[logs],
    )
    return student, logs.epochs


def whole_run(folder, name):
    """A run of several processes but for what its stages do, which others test."""
    nothing = {"train_model": None, "keep_soft_targets": {}, "export_all": []}
    for stage, given in nothing.items():
        setattr(run, stage, lambda *_, given=given, **__: given)
    settings = {"strategy": "multiworker", "image": "none", "teacher.encoders": "scratch"}
    settings |= {"student.inherit": "none", "robustness": False, "data": str(folder / "items.csv")}
    config = make_config(settings)
    own = RunFolder(folder / name)
    own.begin(config)
    return run.run(config, own, Reporter(progress_console(quiet=True)))


def main(folder: Path):
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    strategy, number = strategy_by_name("multiworker"), cluster()[1]
    own = RunFolder(folder / str(number))
    config = make_config({"strategy": "multiworker"})
    own.begin(config)
    # A training that is interrupted goes on from the chief's state, which the other one has lost.
    try:
        learn_from_labels("multiworker", backup=own.backup("a"), callbacks=[Interrupted()])
    except KeyboardInterrupt:
        own.release()
    if number:
        own = RunFolder(folder / "later")
        own.begin(config)
    else:
        own.resume({})
    own.join(strategy)
    state = sorted(file.name for file in own.state.glob("a/*"))
    labels, after = learn_from_labels("auto", backup=own.backup("a"))
    taught, epochs = learn_from_teacher("multiworker", folder / str(number))
    shared = own.save_model("b", model(seed=number))
    try:
        own.check_same_data(str(number))
        refused = ""
    except ValueError as error:
        refused = str(error)
    results = whole_run(folder, f"run{number}")
    with strategy.scope():
        distiller = Distiller(student=model(), teacher=model(5, seed=1))
    try:
        distiller.compile("adam", steps_per_execution=2)
    except ValueError as error:
        refused += str(error)
    for name, each in (("labels", labels), ("taught", taught), ("shared", shared)):
        np.savez(folder / f"{name}{number}.npz", *each.get_weights())
    found = {"labels": after, "taught": epochs, "state": state, "refused": refused}
    found["results"] = sorted(results)
    (folder / f"{number}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
