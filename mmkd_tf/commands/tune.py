"""The command `tune`: looks for better settings of the student's training."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkd_tf.commands.columns import Image, Label, SkipBadRows, Text, as_flags, given_columns
from mmkd_tf.commands.errors import errors_for_people, goes_on_later
from mmkd_tf.commands.first_checks import check_data
from mmkd_tf.files.tables import is_folder, is_table
from mmkd_tf.quiet import quiet_tensorflow
from mmkd_tf.terminal import echo

Flag = typer.Option


def tune_command(
    data: Annotated[
        str | None,
        typer.Argument(help="A table, folder or dataset, as for run.", show_default=False),
    ] = None,
    config: Annotated[Path | None, Flag(help="A YAML file of settings; flags go first.")] = None,
    *,
    output: Annotated[Path, Flag(help="Folder of the search; one that is there is gone on with.")],
    image: Image = None,
    text: Text = None,
    label: Label = None,
    skip_bad_rows: SkipBadRows = None,
    trials: Annotated[int, Flag(min=2, help="Number of students to train.")] = 20,
    settings: Annotated[
        list[str] | None, Flag("--set", metavar="NAME=VALUE", help="Any other setting of run.")
    ] = None,
    quiet: Annotated[bool, Flag("--quiet", "-q", help="No progress.")] = False,
    as_json: Annotated[bool, Flag("--json", help="Print results as JSON.")] = False,
) -> None:
    """Look for better settings of the student's training, by validation alone.

    Learning rate, modality dropout, weight and temperature of the soft targets. The teacher is
    trained once. The same command goes on with a search that was interrupted.
    """
    with errors_for_people():
        from mmkd_tf.settings.names import layered, parse_settings, read_yaml

        given: dict[str, Any] = {} if data is None else {"data": data}
        if data is not None and Path(data).exists() and (is_table(data) or is_folder(data)):
            given["data"] = str(Path(data).resolve())
        columns = given_columns(image, text, label, skip_bad_rows)
        given |= columns | parse_settings(settings or [])
        check_data(layered(read_yaml(config), given))
        quiet_tensorflow()

        from mmkd_tf.config import make_config
        from mmkd_tf.report.progress import Reporter, progress_console
        from mmkd_tf.runs.folder import CONFIG_FILE, RunFolder
        from mmkd_tf.runs.tuning import best_file, tune

        folder, made = RunFolder(output), make_config(given, config)
        if (output / CONFIG_FILE).is_file():
            folder.resume(made.model_dump())
        else:
            folder.begin(made)
        reporter = Reporter(progress_console(quiet=quiet))
        reporter.say(f"Results go to {output}")
        try:
            with goes_on_later("Go on with the same command."):
                found = tune(made, folder, reporter, trials=trials)
        except typer.Exit:
            raise
        except Exception:
            folder.give_up()
            raise
        finally:
            folder.release()
    if as_json:
        echo(json.dumps(found))
        return
    for name, value in found["settings"].items():
        echo(f"{name}: {value:.4g}")
    echo(
        f"On {found['num_examples']:,} validation examples the student's {found['headline']} is "
        f"{found['best']:.3f}, with the settings that the search began with {found['first']:.3f}. "
        f"The best of {found['num_trials']} looks better than it is: judge it by a run."
    )
    again = [*([] if data is None else [data]), *as_flags(columns)]
    echo(f"Run it: {shlex.join(['mmkd-tf', 'run', *again, '--config', str(best_file(output))])}")
