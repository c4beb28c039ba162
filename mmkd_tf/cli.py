"""The command line: run, study, predict, export and benchmark."""

import errno
import json
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mmkd_tf.quiet import quiet_tensorflow

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Distils a large model for pictures and texts into a small one that runs on a phone.",
)

Flag = typer.Option


@app.command()
def run(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A CSV or Parquet table with columns for picture path, text and label, or a "
            "TensorFlow Datasets name. By default the embedded emoji data.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[Path | None, Flag(help="A YAML file of settings; flags go first.")] = None,
    output: Annotated[
        Path | None, Flag(help="Folder for the results; by default below saved_models/.")
    ] = None,
    resume: Annotated[bool, Flag("--resume", help="Go on with an interrupted run.")] = False,
    image: Annotated[str | None, Flag(help="Column of picture paths; none without.")] = None,
    text: Annotated[str | None, Flag(help="Column of texts; none without.")] = None,
    label: Annotated[str | None, Flag(help="Column of labels; of numbers, with commas.")] = None,
    task: Annotated[
        str | None,
        Flag(help="single_label, multi_label, regression or retrieval; the labels decide without."),
    ] = None,
    validation: Annotated[str | None, Flag(help="A table, or a share of the rows.")] = None,
    test: Annotated[str | None, Flag(help="A table, or a share of the rows.")] = None,
    epochs: Annotated[int | None, Flag(help="Passes over the training rows.")] = None,
    seed: Annotated[int | None, Flag(help="Seed of everything that is random.")] = None,
    skip_bad_rows: Annotated[
        bool | None, Flag("--skip-bad-rows", help="Go on without rows that can't be used.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        Flag("--set", metavar="NAME=VALUE", help="Any other setting of the YAML file."),
    ] = None,
) -> None:
    """Train a teacher, distil a student, evaluate, export."""
    given = {"data": data, "image": image, "text": text, "label": label, "task": task}
    given |= {"epochs": epochs}
    given |= {"validation": validation, "test": test, "seed": seed, "skip_bad_rows": skip_bad_rows}
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("data", "validation", "test"):  # a run may be resumed from another folder
        if name in given and Path(given[name]).is_file():
            given[name] = str(Path(given[name]).resolve())
    quiet_tensorflow()
    with _errors_for_people():
        from mmkd_tf.config import make_config, parse_settings
        from mmkd_tf.data.table import table_name
        from mmkd_tf.run_folder import RunFolder, default_folder

        given |= parse_settings(settings or [])
        if resume:
            if output is None or config is not None:
                raise ValueError(
                    "`--resume`: needs --output, the folder of the run, which holds its settings; "
                    "--config is not read."
                )
            folder = RunFolder(output)
            made = folder.resume(given)
        else:
            made = make_config(given, config)
            folder = RunFolder(output or default_folder(table_name(made.data)))
            folder.begin(made)
        _run(made, folder)


def _run(config, folder) -> None:
    from mmkd_tf.report.progress import Reporter
    from mmkd_tf.report.summary import summary
    from mmkd_tf.run import run as run_job

    reporter = Reporter()
    go_on = f"Go on with: mmkd-tf run --output {folder.path} --resume"
    try:
        results = run_job(config, folder, reporter)
    except KeyboardInterrupt:
        reporter.say(f"Interrupted. {go_on}")
        raise typer.Exit(130) from None
    except Exception as error:
        folder.give_up()
        if _is_full_disk(error):
            raise ValueError(f"The disk is full: free some space. {go_on}") from None
        raise
    typer.echo(summary(results))
    typer.echo(f"Files: {folder.path}")


@app.command()
def study(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A table or TensorFlow Datasets name, as for run, where the YAML file names no "
            "datasets.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[Path | None, Flag(help="A YAML file: datasets, recipes, settings.")] = None,
    output: Annotated[Path, Flag(help="Folder of the study; one that is there is added to.")] = ...,
    seeds: Annotated[int | None, Flag(help="Number of seeds; 5 by default.")] = None,
    jobs: Annotated[
        int | None, Flag(help="Seeds trained at once; by default what the machine can hold.")
    ] = None,
    test: Annotated[
        bool, Flag("--test", help="Show the test split too: once the recipe has been chosen.")
    ] = False,
    settings: Annotated[
        list[str] | None, Flag("--set", metavar="NAME=VALUE", help="A setting of run, for all.")
    ] = None,
) -> None:
    """Compare the student alone with distilled ones, by seeds, datasets and recipes."""
    quiet_tensorflow()
    with _errors_for_people():
        from mmkd_tf.config import parse_settings
        from mmkd_tf.report.study_page import study_text
        from mmkd_tf.study.config import make_study
        from mmkd_tf.study.job import run_study

        if data is None and config is None and output.is_dir() and any(output.iterdir()):
            raise ValueError(
                f"`DATA`: what the study in {output} is about; to go on with it, the same command "
                "as before. Received: neither a table's path nor a dataset's name, nor --config."
            )
        given = {"data": data, "seeds": seeds, "settings": parse_settings(settings or [])}
        try:
            results = run_study(make_study(given, config), output, jobs=jobs, test=test)
        except KeyboardInterrupt:
            typer.echo("Interrupted. Go on with the same command.", err=True)
            raise typer.Exit(130) from None
    typer.echo(study_text(results))
    typer.echo(f"Files: {output}")
    if results["failed"]:
        raise typer.Exit(1)


benchmarks = typer.Typer(no_args_is_help=True, help="Measure what things cost on this machine.")
app.add_typer(benchmarks, name="benchmark")


@benchmarks.command()
def training(
    rounds: Annotated[int, Flag(help="Rounds that count; in each every variant trains.")] = 7,
    examples: Annotated[int, Flag(help="Examples in an epoch.")] = 1024,
) -> None:
    """Compare epochs of plain training, cached soft targets, a live teacher and hints."""
    quiet_tensorflow()
    with _errors_for_people():
        from mmkd_tf.distill.benchmark import benchmark_training
        from mmkd_tf.report.benchmark_page import training_text

        measured = benchmark_training(num_rounds=rounds, num_examples=examples)
    typer.echo(training_text(measured))


@benchmarks.command()
def edge(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="The folder of a finished run; by default an untrained default student.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str, Flag(help="Which model of the run: student, student_alone or teacher.")
    ] = "student",
    rounds: Annotated[int, Flag(help="Rounds that count; in each every file is called.")] = 15,
    calls: Annotated[int, Flag(help="Calls of each file in a round.")] = 100,
) -> None:
    """Compare a model's TFLite files with Keras' own, ONNX Runtime and the SavedModel."""
    quiet_tensorflow()
    with _errors_for_people():
        from mmkd_tf.export.benchmark import benchmark_edge
        from mmkd_tf.report.edge_page import edge_text

        loaded, examples = None, None
        if folder is not None:
            _, loaded, dataset = _model_of_a_run(folder, model)
            if dataset.task == "retrieval":
                raise ValueError(
                    "`FOLDER`: a run whose model is one file. Received: one of retrieval, whose "
                    "results.json has the latency of each of its files."
                )
            examples = dataset.splits["validation"].inputs
        measured = benchmark_edge(loaded, examples=examples, num_rounds=rounds, num_calls=calls)
    typer.echo(edge_text(measured))


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A .tflite file, or the folder of a run.")],
    image: Annotated[Path | None, Flag(help="A picture file.")] = None,
    text: Annotated[str | None, Flag(help="A text.")] = None,
    candidates: Annotated[
        Path | None,
        Flag(
            help="Of retrieval, a file of what is chosen from, one a line: texts for --image, by "
            "default those of training; paths of pictures for --text, from the file's folder."
        ),
    ] = None,
    as_json: Annotated[bool, Flag("--json", help="Print JSON.")] = False,
) -> None:
    """Ask an exported file about a picture, a text or both."""
    with _errors_for_people():
        from mmkd_tf.edge import Classifier, Regressor
        from mmkd_tf.edge.model_file import find_file, read_model_file
        from mmkd_tf.edge.retriever import find_tower

        file = find_file(model, "student") if model.is_dir() else model
        is_pair = model.is_dir() and find_tower(model, "text").is_file()
        task = "retrieval" if is_pair else read_model_file(file).task
        if candidates is not None and not is_pair:
            raise ValueError("`--candidates`: only with the folder of a retrieval run.")
        if task == "retrieval":
            figures = _matches(model, image, text, candidates)
        elif task == "regression":
            figures = Regressor(file).predict(image=image, text=text)
        else:
            prediction = Classifier(file).predict(image=image, text=text)
            figures = prediction.probabilities
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False))
        return
    for name, figure in figures.items():
        if task == "retrieval":
            typer.echo(f"{figure:7.3f}  {name}")
        elif task == "regression":
            typer.echo(f"{figure:12.6g}  {name}")
        else:
            given = " *" if task == "multi_label" and name in prediction.labels else ""
            typer.echo(f"{figure:7.2%}  {name}{given}")


def _matches(folder: Path, image, text, candidates: Path | None) -> dict[str, float]:
    """Finds texts by a picture or pictures by a text, with the folder of a retrieval run."""
    from mmkd_tf.edge import Retriever

    if not folder.is_dir():
        raise ValueError(
            f"`MODEL`: the folder that holds both files of a retrieval run. Received: {folder}, "
            "which encodes pictures or texts alone; for that take mmkd_tf.edge.Encoder."
        )
    choice = None
    if candidates is not None:
        try:
            lines = candidates.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"`--candidates`: a text file (UTF-8) with one a line. Received: {candidates} "
                f"({error})."
            ) from None
        choice = [line.strip() for line in lines if line.strip()]
        if text is not None:
            choice = [candidates.parent / line for line in choice]
    found = Retriever(folder).find(image=image, text=text, candidates=choice)
    return {match.item: match.score for match in found}


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    output: Annotated[Path, Flag(help="Where the files go; they replace those of that name.")],
    model: Annotated[
        str, Flag(help="Which model of the run: student, student_alone or teacher.")
    ] = "student",
    quantize: Annotated[
        str, Flag(help="Of the small file: auto, float32, float16, dynamic, mixed, mixed4.")
    ] = "auto",
    text_input: Annotated[
        str | None, Flag(help="ids or bytes; by default what the run's settings say.")
    ] = None,
    batch_size: Annotated[
        int, Flag(help="Examples that a TFLite file takes at a time; 0 for any number.")
    ] = 1,
    web: Annotated[
        Path | None, Flag(help="Folder for a page that runs the model in a browser.")
    ] = None,
    litert: Annotated[
        Path | None, Flag(help="An installed npm package @litertjs/core, for --web without npm.")
    ] = None,
) -> None:
    """Export a model of a run again: SavedModel, TFLite, a small TFLite, a page for browsers."""
    quiet_tensorflow()
    with _errors_for_people():
        _check_export_flags(output, quantize, batch_size, web, litert)
        from mmkd_tf.config import make_config
        from mmkd_tf.export.web import write_web_page
        from mmkd_tf.export_job import export_all
        from mmkd_tf.report.exports_page import exports_lines

        config, loaded, dataset = _model_of_a_run(folder, model)
        if web is not None and dataset.task != "single_label":
            raise ValueError(
                f"`--web`: for runs of one class; the page shows no {dataset.task}. Leave it out."
            )
        if text_input is not None:
            config = make_config({**config.model_dump(), "text_input": text_input})
        options = {"quantize": quantize, "batch_size": batch_size or None}
        made = export_all(loaded, dataset, config, output, name=model, **options)
        typer.echo("\n".join(exports_lines(made)))
        typer.echo(f"Files: {output}")
        if web is not None:
            write_web_page(output / f"{model}.tflite", web, litert=litert)
            typer.echo(f"Serve the page: python -m http.server -d {web}")
            typer.echo("Then open http://localhost:8000")


def _check_export_flags(output, quantize, batch_size, web, litert) -> None:
    """Finds mistakes before the work; lists them all."""
    from mmkd_tf.export.tflite import AUTO, LEVELS

    levels = (AUTO, *LEVELS)
    problems = []
    if quantize not in levels:
        problems.append(f"`--quantize`: one of {', '.join(levels)}. Received: {quantize}.")
    if batch_size < 0:
        problems.append(f"`--batch-size`: 1 or more, 0 for any number. Received: {batch_size}.")
    for flag, path in (("--output", output), ("--web", web)):
        if path is not None and path.exists() and not path.is_dir():
            problems.append(f"`{flag}`: a folder, to make or to write into. Received: {path}.")
    if litert is not None and web is None:
        problems.append("`--litert`: only with --web, the page that it is for. Leave it out.")
    if web is not None and batch_size == 0:
        problems.append("`--web`: needs a --batch-size of 1 or more; browsers refuse 0.")
    if problems:
        raise ValueError("\n".join(problems))


def _model_of_a_run(folder: Path, name: str) -> tuple:
    """Reads config, model and dataset of a finished run."""
    from mmkd_tf.roles import seen_by
    from mmkd_tf.run import load_dataset
    from mmkd_tf.run_folder import RunFolder

    run_folder = RunFolder(folder)
    config = run_folder.read_config()
    model = run_folder.load_model(name)
    if model is None:
        raise ValueError(
            f"`--model`: a model that the run has made. Received: {name}; the folder has "
            f"{sorted(file.stem for file in folder.glob('*.keras'))}. A released folder has none: "
            "make the run anew with its settings, mmkd-tf run --config config.yaml."
        )
    dataset = load_dataset(config)
    run_folder.check_same_data(dataset.fingerprint())
    return config, model, seen_by(name, dataset)


def main() -> None:
    """Runs the command line."""
    app()


@contextmanager
def _errors_for_people():
    """Prints what a person did wrong without a traceback; other errors keep theirs."""

    def show_warning(message, *_args, **_kwargs):
        typer.echo(f"Note: {message}", err=True)

    warnings.showwarning = show_warning
    # The notes on a Dataset are shown with it.
    warnings.filterwarnings("ignore", module=r"mmkd_tf\.(data|run)")
    try:
        yield
    except Exception as error:
        mistakes = (ValueError, TypeError, OSError, ImportError)
        full = _is_full_disk(error)
        if os.environ.get("MMKD_TF_TRACEBACK") or not (full or isinstance(error, mistakes)):
            raise
        typer.echo("Error: the disk is full." if full else f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def _is_full_disk(error: Exception) -> bool:
    """Python has an error number for it, HDF5 and TensorFlow have words."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)


if __name__ == "__main__":
    main()
