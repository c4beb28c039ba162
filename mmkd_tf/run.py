"""The main job from top to bottom: data, teacher, soft targets, student, evaluation, exports."""

import json
import math
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from mmkd_tf.backbones.weight_files import cache_folder
from mmkd_tf.config import RunConfig
from mmkd_tf.data.batches import batches
from mmkd_tf.data.dataset import TRANSFER, Dataset, for_student, with_student_forms
from mmkd_tf.data.options import DatasetOptions
from mmkd_tf.data.pretrained import with_pretrained
from mmkd_tf.data.table import from_table, is_table
from mmkd_tf.data.tfds import from_tfds
from mmkd_tf.data.unlabelled import OF_TRAINING, REPEATS
from mmkd_tf.distill.calibration import calibrated_loss
from mmkd_tf.distill.cross_fitting import train_heads, with_folds
from mmkd_tf.distill.generated_rows import Generator
from mmkd_tf.distill.soft_target_files import SoftTargetCache
from mmkd_tf.distill.soft_targets import cache_soft_targets
from mmkd_tf.distill.teachers import output_tensors
from mmkd_tf.distill.training import Recipe, distill, terms_of, train
from mmkd_tf.distill.transfer import TransferRows, joined, unlabelled_rows
from mmkd_tf.evaluate.robustness import modality_weights, robustness
from mmkd_tf.evaluate.statistics import Predictions, gap_closed, teacher_gap
from mmkd_tf.export.export_all import export_all
from mmkd_tf.modalities.modality import student_inputs
from mmkd_tf.models.cross_fitted import heads_of, temperatures_of
from mmkd_tf.models.inheritance import SIZES, inherited_forms
from mmkd_tf.models.inputs import route
from mmkd_tf.report import sentences as say
from mmkd_tf.report.card import model_card
from mmkd_tf.report.page import report_page
from mmkd_tf.report.progress import Reporter
from mmkd_tf.roles import (
    STUDENTS,
    encoder,
    inherited_from,
    num_parameters,
    seen_by,
    sources,
    untrained,
    untrained_teacher,
)
from mmkd_tf.run_folder import RESULTS_FILE, STATE_FOLDER, RunFolder, versions
from mmkd_tf.settings import ExportSettings

LABELS_FILE = "labels.txt"
TRANSFER_FILE = f"{STATE_FOLDER}/transfer.json"
TITLES = {
    "student_alone": "Training the student alone ({}), for comparison",
    "student_scratch": "Training the student from scratch ({}), for comparison",
    "student": "Distilling the student from the teacher ({})",
}
# What the views of one teacher may take on disk where the settings leave their number open.
MOST_BYTES_OF_VIEWS = 2**30


def run(config: RunConfig, folder: RunFolder, reporter: Reporter) -> dict:
    """Trains, distils, evaluates and exports; each stage that is done already is read instead.

    The folder was given its settings by `begin` or `resume`. Gives what `results.json` holds.
    """

    def stage(name: str, title: str):
        return reporter.stage(title, lambda seconds: folder.add_seconds(name, seconds))

    with stage("data", "Reading the data"):
        dataset = load_dataset(config)
    reporter.say(repr(dataset))
    task = dataset.task
    config = config.for_task(task)
    folder.check_same_data(dataset.fingerprint())
    given, comparison = config, None
    if config.teacher_candidates:
        comparison = choose_teacher(config, dataset, folder, reporter)
        reporter.say(say.teacher_comparison({"task": task.name, "teacher_comparison": comparison}))
        config = config.with_teacher(comparison["chosen"])
        dataset = with_features(dataset, config)
    models = untrained(config, dataset)
    folder.check_space(40 * sum(model.count_params() for model in models.values()) + 2**25)
    _write_lists(folder, dataset)

    for name in models:
        if name == "student":
            helping = compare_teacher(models, dataset)
            known = {"task": task.name, "config": given.model_dump(), "can_help": helping}
            reporter.say(say.can_help(known))
        trained = folder.load_model(name)
        if trained is not None:
            models[name] = trained
            continue
        doing = TITLES.get(name, f"Training the {name.replace('_', ' ')} ({{}})")
        number = num_parameters(name, models[name], config)
        with stage(name, doing.format(f"{number:,} parameters")):
            teaching = {}
            if name == "student":
                terms, where = student_terms(config, dataset), folder.state / "soft_targets"
                teaching = keep_soft_targets(models, dataset, config, terms=terms, folder=where)
                teaching[TRANSFER] = rows = transfer_rows(models["teacher"], dataset, config)
                if rows is not None:
                    counts = {n: dataset.transfer_counts.get(n, 0) for n in (REPEATS, OF_TRAINING)}
                    folder.write_text(TRANSFER_FILE, json.dumps({**rows.describe(), **counts}))
            train_model(
                name,
                models | teaching,
                dataset,
                config,
                backup=folder.state / name,
                callbacks=[reporter.epochs(config.training.epochs)],
            )
            folder.save_model(name, models[name])

    with stage("evaluation", "Evaluating on the test split"):
        predicted = {name: predict(name, model, dataset) for name, model in models.items()}
        evaluated = {
            name: {
                "parameters": num_parameters(name, model, config),
                **evaluate(predicted[name], dataset),
            }
            for name, model in models.items()
        }
        weights = {
            name: modality_weights(model, seen_by(name, dataset)) for name, model in models.items()
        }
        evaluated["student"]["agreement_with_teacher"] = task.agreement(
            teacher_outputs=predicted["teacher"]["test"],
            student_outputs=predicted["student"]["test"],
        )
        if task.gives_probabilities and (found := temperatures_of(models["teacher"])):
            evaluated["teacher"]["temperatures"] = found
    measured = None
    if config.robustness:
        with stage("robustness", "Evaluating with inputs absent or damaged"):
            seen = seen_by("student", dataset)
            # Where the students' inputs are others, the teachers can't be shown the same.
            alike = [
                name for name in models if name in STUDENTS or seen.modalities == dataset.modalities
            ]
            measured = robustness({name: models[name] for name in alike}, seen, seed=config.seed)
    with stage("exports", "Exporting the student and comparing with Keras"):
        exports = export_all(
            models["student"],
            seen_by("student", dataset),
            export_settings(config, dataset),
            folder.path,
        )

    transfer, file = None, folder.path / TRANSFER_FILE
    if file.is_file():
        share = config.distillation.transfer_share
        transfer = {**json.loads(file.read_text(encoding="utf-8")), "share": share}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    compared = ("teacher", "student_alone", "student")
    results = {
        "task": task.name,
        "dataset": _describe(dataset),
        **evaluated,
        "gap_closed": gap_closed(**{n: evaluated[n]["test"][task.headline] for n in compared}),
        "teacher_comparison": comparison,
        "can_help": helping,
        "robustness": measured,
        "modality_weights": weights,
        "inherited": inherited_from(config, dataset),
        "transfer": transfer,
        "exports": exports,
        "seconds": folder.seconds(),
        "peak_memory_mib": round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1),
        "versions": versions("ai-edge-litert"),
        "seed": config.seed,
        "config": given.model_dump(),
    }
    folder.write_text("model_card.md", model_card(results))
    folder.write_text("report.html", report_page(results))
    folder.write_text(RESULTS_FILE, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    folder.finish()
    return results


def choose_teacher(
    config: RunConfig, dataset: Dataset, folder: RunFolder, reporter: Reporter
) -> dict:
    """Trains a teacher for each of the candidates, and leaves the best on validation as `teacher`.

    Args:
        config: The settings, filled in by `for_task`, which leave `teacher.encoders` open.
        dataset: The data without pretrained features.
        folder: The run's folder; a candidate that is trained already is read from its state, and
            a choice that was made is kept.
        reporter: Tells what is being done.

    Returns:
        `chosen`, the name of the candidate with the least loss; `num_examples` of validation; and
        `candidates`, by name `loss` (see `calibrated_loss`), `score`, the task's figure, and the
        number of `parameters`.
    """
    if comparison := folder.read_comparison():
        return comparison
    found, task = {}, dataset.task
    folder.state.mkdir(exist_ok=True)
    for kind in config.teacher_candidates:
        own, name = config.with_teacher(kind), f"teacher_{kind}"
        title = f"Training a teacher with encoders: {kind}, to choose from"
        with reporter.stage(title, lambda seconds, name=name: folder.add_seconds(name, seconds)):
            seen = with_features(dataset, own)
            model = folder.load_model(f"{STATE_FOLDER}/{name}")
            if model is None:
                model = untrained_teacher(own, seen)
                callbacks = [reporter.epochs(config.training.epochs)]
                train_model(
                    "teacher",
                    {"teacher": model},
                    seen,
                    own,
                    backup=folder.state / name,
                    callbacks=callbacks,
                )
                folder.save_model(f"{STATE_FOLDER}/{name}", model)
            outputs = predict("teacher", model, seen, ["validation"])["validation"]
            labels = dataset.splits["validation"].labels
            found[kind] = {
                "loss": calibrated_loss(outputs, dataset),
                "score": task.score(labels=labels, outputs=outputs),
                "parameters": num_parameters("teacher", model, own),
            }
    chosen = min(found, key=lambda kind: found[kind]["loss"])
    folder.save_model("teacher", folder.load_model(f"{STATE_FOLDER}/teacher_{chosen}"))
    size = dataset.sizes["validation"]
    comparison = {"chosen": chosen, "num_examples": size, "candidates": found}
    folder.write_comparison(comparison)
    return comparison


def compare_teacher(models: Mapping[str, keras.Model], dataset: Dataset) -> dict:
    """Says by validation whether distillation can help at all: the fields of `TeacherGap`.

    `models` are by role; of `teacher` and `student_alone`, which are trained, there is need.
    """
    labels, said = dataset.splits["validation"].labels, {}
    for name in ("teacher", "student_alone"):
        outputs = predict(name, models[name], dataset, ["validation"])["validation"]
        said[name] = Predictions(dataset.task, labels, outputs)
    return asdict(teacher_gap(**said, rng=np.random.default_rng(0)))


def load_dataset(config: RunConfig) -> Dataset:
    """Reads the table or TensorFlow dataset that a config names."""
    data = config.data
    options = DatasetOptions(
        seed=config.seed,
        skip_bad_rows=data.skip_bad_rows,
        allow_outside=data.allow_outside,
        task=data.task,
        label_separator=data.label_separator,
        unlabelled=data.unlabelled,
        unlabelled_rows=data.unlabelled_rows,
    )
    dataset = (from_table if is_table(data.source) else from_tfds)(
        data.source,
        inputs=config.inputs,
        label=data.label,
        validation=data.validation,
        test=data.test,
        options=options,
    )
    if TRANSFER in dataset.splits:
        given = dataset.splits[TRANSFER].inputs
        if not any(given[name].any() for name in config.student_inputs):
            raise ValueError(
                "`data.unlabelled`: rows with an input that the student reads, "
                f"{', '.join(config.student_inputs)}. Received: {len(dataset.splits[TRANSFER]):,} "
                "rows without. Give others, or set `student.inputs`."
            )
    changes = {name: options.student_changes for name, options in config.inputs.items()}
    return with_backbones(for_student(dataset, **changes), config)


def with_backbones(dataset: Dataset, config: RunConfig) -> Dataset:
    """Gives the teacher features of its pretrained encoders, and the student their words."""
    if config.student.inherit != "none":
        own = student_inputs(dataset.modalities)
        size = SIZES[config.student.inherit]
        forms = inherited_forms(own, sources(config, dataset), size)
        dataset = with_student_forms(dataset, forms)
    return with_features(dataset, config)


def with_features(dataset: Dataset, config: RunConfig) -> Dataset:
    """Gives the teacher features of its pretrained encoders, if it has some.

    Features are computed at the first call, and kept on disk for later ones and for other runs.
    """
    if not config.teacher_is_pretrained:
        return dataset
    encoders = {
        name: [encoder(backbone) for backbone in backbones]
        for name, backbones in config.backbones.items()
    }
    beside = not config.teacher_is_cross_fitted
    where = cache_folder() / "features"
    dataset = with_pretrained(dataset, encoders, folder=where, beside=beside)
    if not (beside or dataset.task.is_pairwise):
        dataset = with_folds(dataset, config.teacher.folds, seed=config.seed)
    return dataset


def export_settings(config: RunConfig, dataset: Dataset) -> ExportSettings:
    """The settings of exports; the licence names what the student inherited too."""
    inherited = inherited_from(config, dataset)
    credits = [f"{name} inherits from {of}" for name, of in inherited.items()]
    licence = "; ".join([*filter(None, [config.export.licence]), *credits])
    return config.export.model_copy(update={"licence": licence or None})


def student_terms(config: RunConfig, dataset: Dataset) -> list:
    """What the student learns from its teachers; see `mmkd_tf.distill.terms`."""
    inputs = config.student.inputs or list(student_inputs(dataset.modalities))
    return terms_of(config.distillation, dataset, inputs=inputs, experts=config.teacher.experts)


def keep_soft_targets(
    models: Mapping[str, keras.Model],
    dataset: Dataset,
    config: RunConfig,
    *,
    terms: Sequence,
    folder: Path,
) -> dict[str, SoftTargetCache]:
    """Asks the teachers once for each view of the training data, or reads what was kept.

    Where the settings leave the number of views open there is one for each epoch, or as many as
    `MOST_BYTES_OF_VIEWS` hold; the epochs then show them in turn.

    Args:
        models: By role; those of the students are not asked.
        dataset: The data.
        config: The settings.
        terms: What students learn from the teachers, of one student or of several.
        folder: Where it is kept, in a folder for each teacher.

    Returns:
        By teacher, its kept outputs, for `train_model` in its place.
    """
    caches = {}
    for name, teacher in models.items():
        if name in STUDENTS:
            continue
        asked = [term.teacher_layers for term in terms if term.teacher in (None, name)]
        layers = sorted(set().union(*asked))
        views = _num_views(config, teacher, layers, dataset.sizes["train"])
        caches[name] = cache_soft_targets(
            teacher=teacher,
            dataset=seen_by(name, dataset),
            folder=folder / "-".join([name, *layers, str(views)]),
            views=views,
            seed=config.seed,
            augment=config.training.augment,
            layers=layers,
        )
    return caches


def transfer_rows(teacher: keras.Model, dataset: Dataset, config: RunConfig) -> TransferRows | None:
    """The rows without labels that the student learns from, answered; None if there are none."""
    settings = config.distillation
    if not settings.transfer_share:
        return None
    parts = [unlabelled_rows(teacher, dataset)]
    if made := config.generated(dataset.task):
        encoders = {
            name: [encoder(backbone) for backbone in backbones]
            for name, backbones in config.backbones.items()
            if name in config.student_inputs
        }
        folder = cache_folder() / "features"
        generator = Generator(teacher, dataset, encoders, config.seed, folder)
        parts += [getattr(generator, name)(rate) for name, rate in made.items()]
    rows = joined(parts)
    return None if rows is None else rows.read_by(config.student_inputs)


def _num_views(config: RunConfig, teacher: keras.Model, layers, num_examples: int) -> int:
    if not config.training.augment:
        return 1
    if config.distillation.views is not None:
        return min(config.distillation.views, config.training.epochs)
    tensors = output_tensors(teacher, layers, argument="teacher").values()
    num_bytes = 4 * num_examples * sum(math.prod(tensor.shape[1:]) for tensor in tensors)
    return max(1, min(config.training.epochs, MOST_BYTES_OF_VIEWS // num_bytes))


def train_model(
    name: str,
    models: Mapping[str, keras.Model],
    dataset: Dataset,
    config: RunConfig,
    *,
    backup: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains the model of a role in place; `student` is distilled from the teacher and the experts.

    `config` is filled in by `RunConfig.for_task`. `models` are those of `untrained`; for `student`,
    with trained teachers or what `keep_soft_targets` gives in their place. `backup` is the folder
    for the state after each epoch, from which an interrupted training goes on.
    """
    side = config.student if name in STUDENTS else config.teacher
    recipe = Recipe(
        **config.training.model_dump(), learning_rate=side.learning_rate, seed=config.seed
    )
    where = {"backup": backup, "callbacks": callbacks}
    if heads_of(models[name]):
        train_heads(models[name], seen_by(name, dataset), seed=config.seed)
        return
    if name != "student":
        train(models[name], seen_by(name, dataset), recipe, **where)
        return
    distill(
        student=models["student"],
        teacher={n: m for n, m in models.items() if n not in (*STUDENTS, TRANSFER)},
        transfer=models.get(TRANSFER),
        transfer_share=config.distillation.transfer_share,
        dataset=dataset.labelled,
        recipe=recipe,
        terms=student_terms(config, dataset),
        hard_label_weight=config.distillation.hard_label_weight,
        on_wrong_teacher=config.distillation.on_wrong_teacher,
        **where,
    )


def predict(
    name: str,
    model: keras.Model,
    dataset: Dataset,
    splits: Sequence[str] = ("validation", "test"),
) -> dict[str, np.ndarray]:
    """Runs a model over validation and test: by split, float32 outputs `[n, num_outputs]`."""
    seen, outputs = seen_by(name, dataset), {}
    for split in splits:
        parts = [model(route(model, x), training=False) for x, _ in batches(seen, split)]
        outputs[split] = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    return outputs


def evaluate(outputs: Mapping[str, np.ndarray], dataset: Dataset) -> dict[str, dict]:
    """Measures a model on the splits for which its outputs are given."""
    return {
        split: dataset.task.measure(
            labels=dataset.splits[split].labels,
            outputs=values,
            names=dataset.class_names,
            inputs=list(student_inputs(dataset.modalities)),
        )
        for split, values in outputs.items()
    }


def load_finished(path: Path, name: str) -> tuple[RunConfig, keras.Model, Dataset]:
    """Reads settings, the model of a role and the data, as it reads them, of a finished run."""
    folder = RunFolder(path)
    config, model = folder.read_config(), folder.load_model(name)
    if model is None:
        raise ValueError(
            f"`--model`: a model that the run has made. Received: {name}; the folder has "
            f"{sorted(file.stem for file in folder.path.glob('*.keras'))}. A released folder has "
            "none: make the run anew with its settings, mmkd-tf run --config config.yaml."
        )
    dataset = load_dataset(config)
    folder.check_same_data(dataset.fingerprint())
    if config.teacher_candidates and (comparison := folder.read_comparison()):
        config = config.with_teacher(comparison["chosen"])
    if name not in STUDENTS and config.teacher_is_pretrained:
        raise ValueError(
            f"`--model`: one of {', '.join(STUDENTS)}. Received: {name}, which reads what frozen "
            f"encoders of {num_parameters(name, model, config):,} parameters say, too many for a "
            "phone."
        )
    return config, model, seen_by(name, dataset)


def _write_lists(folder: RunFolder, dataset: Dataset) -> None:
    """Writes the outputs' names and what else a reader of files needs, such as vocabularies."""
    if dataset.class_names:
        folder.write_text(LABELS_FILE, "\n".join(dataset.class_names) + "\n")
    for name, modality in student_inputs(dataset.modalities).items():
        for file, text in modality.files().items():
            prefix = "" if name == modality.kind else f"{name}_"
            file = {"vocab.txt": "vocabulary.txt"}.get(file, file)
            folder.write_text(prefix + file, text.removesuffix("\n") + "\n")


def _describe(dataset: Dataset) -> dict:
    described = {
        "name": dataset.name,
        "sizes": dataset.sizes,
        "class_names": dataset.class_names,
        "class_counts": dataset.class_counts,
    }
    if dataset.target_statistics is not None:
        columns = zip(dataset.class_names, *dataset.target_statistics, strict=True)
        described["targets"] = {
            name: {"mean": float(mean), "standard_deviation": float(deviation)}
            for name, mean, deviation in columns
        }
    return {
        **described,
        "modalities": {name: m.describe() for name, m in dataset.modalities.items()},
        "inputs": {n: {"kind": m.kind} for n, m in student_inputs(dataset.modalities).items()},
        "unknown_words": _unknown_words(dataset),
        "notes": list(dataset.notes),
    }


def _unknown_words(dataset: Dataset) -> dict[str, float]:
    """By text, the share of the test split's words that the student does not know."""
    shares = {
        name: modality.unknown_share(dataset.splits["test"].inputs[name])
        for name, modality in student_inputs(dataset.modalities).items()
    }
    return {name: round(share, 4) for name, share in shares.items() if share is not None}
