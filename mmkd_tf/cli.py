"""The command line: commands about runs, and those of `mmkd_tf.commands`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkd_tf import __version__
from mmkd_tf.commands.answers import (
    evaluate,
    named_columns,
    predict_table,
    rough_calibration_of_run,
)
from mmkd_tf.commands.backbones import backbones
from mmkd_tf.commands.columns import Image, Label, SkipBadRows, Text, given_columns
from mmkd_tf.commands.data import data as data_commands
from mmkd_tf.commands.errors import errors_for_people, goes_on_later, is_full_disk
from mmkd_tf.commands.export import export, report
from mmkd_tf.commands.first_checks import check_data, check_model, check_resume
from mmkd_tf.commands.label import label as label_command
from mmkd_tf.commands.prepare import prepare
from mmkd_tf.commands.settings_list import settings_command
from mmkd_tf.commands.tune import tune_command
from mmkd_tf.files.tables import is_folder, is_table
from mmkd_tf.quiet import quiet_tensorflow
from mmkd_tf.terminal import echo

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Distils a large model of several inputs into a small one that runs on a phone.",
)

Flag = typer.Option
Quiet = Annotated[bool, Flag("--quiet", "-q", help="No progress, only errors and results.")]
AsJson = Annotated[bool, Flag("--json", help="Print results as JSON on standard output.")]


def _show_version(value: bool) -> None:
    if value:
        echo(f"mmkd-tf {__version__}, Python {sys.version.split()[0]}")
        raise typer.Exit


@app.callback()
def _all_commands(
    _version: Annotated[
        bool,
        Flag("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A CSV or Parquet table with columns for picture path, text and label, a folder "
            "with a folder of pictures for each class, or a TensorFlow Datasets name. By default "
            "the embedded emoji data.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[Path | None, Flag(help="A YAML file of settings; flags go first.")] = None,
    output: Annotated[
        Path | None, Flag(help="Folder for the results; by default below saved_models/.")
    ] = None,
    resume: Annotated[bool, Flag("--resume", help="Go on with an interrupted run.")] = False,
    image: Image = None,
    text: Text = None,
    label: Label = None,
    task: Annotated[
        str | None,
        Flag(
            help="single_label, multi_label, regression, retrieval or embedding; the labels decide "
            "without."
        ),
    ] = None,
    validation: Annotated[str | None, Flag(help="A table, or a share of the rows.")] = None,
    test: Annotated[str | None, Flag(help="A table, or a share of the rows.")] = None,
    unlabelled: Annotated[
        str | None,
        Flag(help="Rows without labels: a table, a folder of pictures, a text a line."),
    ] = None,
    epochs: Annotated[int | None, Flag(help="Passes over the training rows.")] = None,
    seed: Annotated[int | None, Flag(help="Seed of everything that is random.")] = None,
    strategy: Annotated[
        str | None, Flag(help="auto: train on all GPUs of the machine; mirrored asks for two.")
    ] = None,
    skip_bad_rows: SkipBadRows = None,
    compare: Annotated[
        str | None, Flag(help="scratch: train the student without inheritance too.")
    ] = None,
    fast: Annotated[
        bool, Flag("--fast", help="A first look: fewer epochs, less measured, in a minute or two.")
    ] = False,
    tensorboard: Annotated[
        bool, Flag("--tensorboard", help="Write logs for TensorBoard into the folder.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        Flag("--set", metavar="NAME=VALUE", help="Any other setting; mmkd-tf settings shows them."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a teacher, distil a student, evaluate, export."""
    given: dict[str, Any] = {
        "data": data,
        "task": task,
        "epochs": epochs,
        "validation": validation,
        "test": test,
        "unlabelled": unlabelled,
        "seed": seed,
        "strategy": strategy,
        "fast": fast or None,
        "tensorboard": tensorboard or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    given |= given_columns(image, text, label, skip_bad_rows)
    # A run may be resumed from another folder.
    for name in ("data", "validation", "test", "unlabelled"):
        path = Path(given.get(name, ""))
        if name in given and (
            (path.exists() and is_table(path))
            or (name in ("data", "unlabelled") and is_folder(path))
        ):
            given[name] = str(path.resolve())
    with errors_for_people():
        from mmkd_tf.settings.names import layered, parse_settings, read_yaml

        given |= parse_settings(settings or [])
        if compare not in (None, "scratch"):
            raise ValueError(f"`--compare`: scratch, or nothing. Received: {compare}.")
        given |= {} if compare is None else {"student.compare_scratch": True}
        if resume:
            check_resume(output, given, config=config)
        else:
            check_data(layered(read_yaml(config), given))
        quiet_tensorflow()
        from mmkd_tf.config import make_config
        from mmkd_tf.data.table import table_name
        from mmkd_tf.runs.folder import RunFolder, default_folder

        if resume and output is not None:
            folder = RunFolder(output)
            made = folder.resume(given)
        else:
            made = make_config(given, config)
            folder = RunFolder(output or default_folder(table_name(made.data.source)))
            folder.begin(made)
        _run(made, folder, quiet=quiet, as_json=as_json)


def _run(config, folder, *, quiet: bool, as_json: bool) -> None:

    from mmkd_tf.report.progress import Reporter, progress_console
    from mmkd_tf.report.summary import next_steps, summary
    from mmkd_tf.run import run as run_job

    reporter = Reporter(progress_console(quiet=quiet))
    reporter.say(f"Results go to {folder.path}")
    go_on = f"Go on with: mmkd-tf run --output {folder.path} --resume"
    try:
        with goes_on_later(go_on, reporter.say):
            results = run_job(config, folder, reporter)
    except typer.Exit:
        raise
    except Exception as error:
        if is_full_disk(error):
            raise ValueError(f"The disk is full: free some space. {go_on}") from None
        folder.give_up()
        raise
    finally:
        folder.release()
    shown = f"{summary(results)}\n{next_steps(results, folder.path)}"
    echo(json.dumps(results, ensure_ascii=False) if as_json else shown)


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
    *,
    output: Annotated[Path, Flag(help="Folder of the study; one that is there is added to.")],
    image: Image = None,
    text: Text = None,
    label: Label = None,
    skip_bad_rows: SkipBadRows = None,
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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare the student alone with distilled ones, by seeds, datasets and recipes."""
    with errors_for_people():
        from mmkd_tf.settings.names import layered, parse_settings

        of_all = given_columns(image, text, label, skip_bad_rows)
        of_all |= parse_settings(settings or [])
        if data is not None:
            check_data(layered({"data": data}, of_all))
        quiet_tensorflow()

        from mmkd_tf.report.progress import Reporter, progress_console
        from mmkd_tf.report.study_page import study_text
        from mmkd_tf.study import run_study
        from mmkd_tf.study_config import make_study

        if data is None and config is None and output.is_dir() and any(output.iterdir()):
            raise ValueError(
                f"`DATA`: what the study in {output} is about; to go on with it, the same command "
                "as before. Received: neither a table's path nor a dataset's name, nor --config."
            )
        given = {"data": data, "seeds": seeds, "settings": of_all}
        with goes_on_later("Go on with the same command."):
            reporter = Reporter(progress_console(quiet=quiet))
            made = make_study(given, config)
            results = run_study(made, output, jobs=jobs, test=test, reporter=reporter)
    shown = f"{study_text(results)}\nFiles: {output}"
    echo(json.dumps(results, ensure_ascii=False) if as_json else shown)
    if results["failed"]:
        raise typer.Exit(1)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A .tflite file, or the folder of a run.")],
    table: Annotated[
        Path | None,
        typer.Argument(
            help="A CSV or Parquet table, each row of which is answered; flags of inputs then name "
            "columns.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[Path | None, Flag(help="A picture file.")] = None,
    text: Annotated[str | None, Flag(help="A text.")] = None,
    inputs: Annotated[
        list[str] | None,
        Flag("--input", metavar="NAME=VALUE", help="A value of an input of another name."),
    ] = None,
    candidates: Annotated[
        Path | None,
        Flag(
            help="Of retrieval and embedding, a file of what is chosen from, one a line: texts, by "
            "default those of training, or paths of pictures, from the file's folder."
        ),
    ] = None,
    as_json: Annotated[bool, Flag("--json", help="Print JSON.")] = False,
    output: Annotated[
        Path | None, Flag(help="With a table, a CSV file for its rows and their answers.")
    ] = None,
    overwrite: Annotated[
        bool, Flag("--overwrite", help="Replace the file of --output if it is there.")
    ] = False,
    skip_bad_rows: Annotated[
        bool, Flag("--skip-bad-rows", help="With a table, leave rows that can't be read empty.")
    ] = False,
) -> None:
    """Ask an exported file about a picture, a text or both, or about each row of a table."""
    with errors_for_people():
        if table is not None:
            columns = named_columns(str(image) if image else None, text, inputs)
            asked: dict[str, Any] = {"output": output, "overwrite": overwrite}
            asked |= {"skip_bad_rows": skip_bad_rows}
            predict_table(model, table, columns, **asked, as_json=as_json)
            return
        if output is not None or skip_bad_rows or overwrite:
            raise ValueError(
                "`--output`, `--overwrite`, `--skip-bad-rows`: only with a table behind the model."
            )
        from mmkd_tf.edge import Classifier, Regressor, Retriever
        from mmkd_tf.edge.encoder import find_towers
        from mmkd_tf.edge.model_file import find_file, read_model_file

        pairs = inputs or []
        if wrong := [pair for pair in pairs if not pair.partition("=")[2]]:
            raise ValueError(
                f"`--input`: NAME=VALUE, for example front=cup.jpg. Received: {wrong}."
            )
        values = {"image": image, "text": text} | dict(pair.split("=", 1) for pair in pairs)
        values = {name: value for name, value in values.items() if value is not None}
        check_model(model)
        file = find_file(model, "student") if model.is_dir() else model
        towers = find_towers(model) if model.is_dir() else {}
        gives = "embedding" if towers else read_model_file(file).output
        if not values and gives != "embedding":
            raise ValueError(
                "`--image`, `--text`, `--input`: at least one value, or behind MODEL a table, each "
                f"row of which is answered: mmkd-tf predict {model} new.csv. Received: neither."
            )
        given, remarks = (), []
        if candidates is not None and gives != "embedding":
            raise ValueError("`--candidates`: only with a retrieval or embedding run.")
        if gives == "embedding" and file.is_file() and read_model_file(file).task == "embedding":
            figures, given = _alike(file, values, candidates)
        elif gives == "embedding":
            figures = _matches(model, towers, values, candidates)
            remarks = Retriever(model).remarks(**values)
        elif gives == "values":
            regressor = Regressor(file)
            figures, remarks = regressor.predict(**values), regressor.remarks(**values)
        else:
            classifier = Classifier(file)
            prediction = classifier.predict(**values)
            remarks = classifier.remarks(prediction, **values)
            figures = prediction.probabilities
            given = prediction.labels if read_model_file(file).threshold is not None else ()
            if classifier.temperature is not None and (rough := rough_calibration_of_run(model)):
                remarks = [*remarks, rough]
    if as_json:
        echo(json.dumps(figures, ensure_ascii=False))
        return
    form = {"embedding": "{:7.3f}", "values": "{:12.6g}"}.get(gives, "{:7.2%}")
    for name, figure in figures.items():
        echo(f"{form.format(figure)}  {name}{' *' if name in given else ''}")
    for sentence in remarks:
        echo(sentence)


def _matches(folder: Path, towers, values, candidates: Path | None) -> dict[str, float]:
    """Finds what belongs to a value of one input, with the folder of a retrieval run."""
    from mmkd_tf.edge import Encoder, Retriever

    if not folder.is_dir():
        raise ValueError(
            f"`MODEL`: the folder that holds both files of a retrieval run. Received: {folder}, "
            "which encodes one input alone; for that take mmkd_tf.edge.Encoder."
        )
    choice = None
    if candidates is not None:
        sought = [path for name, path in towers.items() if name not in values]
        choice = _candidates(candidates, [Encoder(path).items for path in sought])
    found = Retriever(folder).find(candidates=choice, **values)
    return {match.item: match.score for match in found}


def _alike(file: Path, values, candidates: Path | None) -> tuple[dict[str, float], tuple[str, ...]]:
    """Compares a value with candidates by a file of identities; gives those that are the same."""
    from mmkd_tf.edge import Encoder, Index

    encoder = Encoder(file)
    if candidates is None or encoder.inputs != list(values):
        raise ValueError(
            "`--candidates`, and one value of the same input: what is compared, with a file of one "
            f"input. Received: {' and '.join(values) or 'no value'} and candidates={candidates}, "
            f"for a file of {encoder.modality}. For all else take mmkd_tf.edge.Encoder."
        )
    choice, index = _candidates(candidates, [encoder.items]), Index()
    index.add(list(map(str, choice)), encoder.encode(choice))
    found = index.search(encoder.embed(**values))
    least = 1.0 if encoder.threshold is None else encoder.threshold
    given = tuple(match.item for match in found if match.score > least)
    return {match.item: match.score for match in found}, given


def _candidates(file: Path, items: Sequence[str]) -> list:
    """What is chosen from, one a line; paths are from the file's own folder."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`--candidates`: a text file (UTF-8) with one a line. Received: {file} ({error})."
        ) from None
    choice = [line.strip() for line in lines if line.strip()]
    if any(each.startswith("paths") for each in items):
        return [file.parent / line for line in choice]
    return choice


app.command()(export)
app.command()(report)
app.command()(evaluate)
app.command("settings")(settings_command)
app.command("tune")(tune_command)

app.add_typer(backbones, name="backbones")
data_commands.command("prepare")(prepare)
data_commands.command("label")(label_command)
app.add_typer(data_commands, name="data")


def main() -> None:
    """Runs the command line."""
    app()


if __name__ == "__main__":
    main()
