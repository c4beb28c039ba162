"""The command `export`: exports a model of a finished run again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mmkd_tf.commands.errors import errors_for_people
from mmkd_tf.commands.first_checks import check_run_folders
from mmkd_tf.quiet import quiet_tensorflow
from mmkd_tf.terminal import echo

Flag = typer.Option


def export(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    output: Annotated[Path, Flag(help="Where the files go; they replace those of that name.")],
    model: Annotated[
        str, Flag(help="Which model of the run: student, student_alone or teacher.")
    ] = "student",
    quantize: Annotated[
        str,
        Flag(help="Of the small file: auto, float32, float16, dynamic, dynamic4, mixed, mixed4."),
    ] = "auto",
    text_input: Annotated[
        str | None, Flag(help="ids or bytes; by default what the run's settings say.")
    ] = None,
    batch_size: Annotated[
        int, Flag(help="Examples that a TFLite file takes at a time; 0 for any number.")
    ] = 1,
) -> None:
    """Export a model of a run again: SavedModel, TFLite, a small TFLite."""
    with errors_for_people():
        check_run_folders(folder)
        quiet_tensorflow()
        _check_export_flags(output, quantize, batch_size)
        from mmkd_tf.config import make_config
        from mmkd_tf.export.export_all import export_all
        from mmkd_tf.report.progress import Reporter
        from mmkd_tf.report.summary import exports_text
        from mmkd_tf.run import export_settings, export_temperature, load_finished
        from mmkd_tf.settings.names import grouped

        config, loaded, dataset = load_finished(folder, model)
        if text_input is not None:
            config = make_config(grouped(config.model_dump(), {"export.text_input": text_input}))
        is_student = model.startswith("student")
        settings = export_settings(config, dataset) if is_student else config.export
        options: dict[str, Any] = {"quantize": quantize, "batch_size": batch_size or None}
        options["temperature"] = export_temperature(model, loaded, dataset, config)
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"`--output`: a folder that can be written. Received: {output} "
                f"({error.strerror}). Choose another folder."
            ) from None
        reporter = Reporter()
        with reporter.stage(f"Exporting the model {model}", lambda seconds: None):
            made = export_all(loaded, dataset, settings, output, name=model, **options)
        echo(exports_text(made))
        echo(f"Files: {output}")


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="The folder of a run; several to compare.", metavar="DIR")
    ],
    output: Annotated[
        Path | None, Flag(help="Of several, the page; by default comparison.html.")
    ] = None,
) -> None:
    """Make the report of a run again, or a page that compares runs."""
    with errors_for_people():
        if len(folders) == 1 and output is not None:
            raise ValueError("`--output`: only of several runs; one run's page is in its folder.")
        check_run_folders(*folders)
        quiet_tensorflow()
        from mmkd_tf.runs.report import RUNS_FILE, report_again, report_runs

        if len(folders) == 1:
            page = report_again(folders[0])
        else:
            page = report_runs(folders, output or Path(RUNS_FILE))
    echo(f"Page: {page}")


def _check_export_flags(output: Path, quantize: str, batch_size: int) -> None:
    """Finds mistakes before the work; lists them all."""
    from mmkd_tf.export.convert import MOST_EXAMPLES
    from mmkd_tf.export.tflite import AUTO, LEVELS

    levels = (AUTO, *LEVELS)
    problems = []
    if quantize not in levels:
        problems.append(f"`--quantize`: one of {', '.join(levels)}. Received: {quantize}.")
    if not 0 <= batch_size <= MOST_EXAMPLES:
        problems.append(
            f"`--batch-size`: 1 to {MOST_EXAMPLES:,}, 0 for any number. Received: {batch_size}."
        )
    if output.exists() and not output.is_dir():
        problems.append(f"`--output`: a folder, to make or to write into. Received: {output}.")
    if problems:
        raise ValueError("\n".join(problems))
