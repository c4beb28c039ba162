"""The command `data prepare`."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkd_tf.commands.errors import errors_for_people, goes_on_later, is_full_disk
from mmkd_tf.commands.first_checks import check_data
from mmkd_tf.quiet import quiet_tensorflow
from mmkd_tf.terminal import echo

Flag = typer.Option
Runner = Annotated[str, Flag(help="A runner of Apache Beam, such as FlinkRunner.")]
BeamOptions = Annotated[
    list[str] | None,
    Flag("--beam-option", metavar="NAME=VALUE", help="Any option of Beam or of the runner."),
]


def prepare(
    table: Annotated[Path, typer.Argument(help="A CSV or Parquet table, as for run.")],
    *,
    output: Annotated[Path, Flag(help="Folder of the shards; one that is there is gone on with.")],
    config: Annotated[Path | None, Flag(help="A YAML file of settings; flags go first.")] = None,
    image: Annotated[str | None, Flag(help="Column of picture paths; none without.")] = None,
    text: Annotated[str | None, Flag(help="Column of texts; none without.")] = None,
    label: Annotated[str | None, Flag(help="Column of labels; of numbers, with commas.")] = None,
    task: Annotated[str | None, Flag(help="As for run; it says which labels are bad.")] = None,
    unlabelled: Annotated[
        bool, Flag("--unlabelled", help="Rows without labels, for run --unlabelled.")
    ] = False,
    rows_per_shard: Annotated[int, Flag(help="Rows of a file, bad ones included.", min=1)] = 10_000,
    runner: Runner = "DirectRunner",
    beam_options: BeamOptions = None,
    settings: Annotated[
        list[str] | None,
        Flag("--set", metavar="NAME=VALUE", help="A setting of run, such as inputs.image.size."),
    ] = None,
    as_json: Annotated[bool, Flag("--json", help="Print what shards.json holds.")] = False,
) -> None:
    """Decode and check a large table by Apache Beam, into shards that run reads as a table.

    Bad rows are left out and counted by reason. Shards that are there are not made again.
    """
    with errors_for_people():
        from mmkd_tf.settings.names import layered, parse_settings, read_yaml

        given: dict[str, Any] = {"data": str(table), "image": image, "text": text, "label": label}
        given = {name: value for name, value in (given | {"task": task}).items() if value}
        given |= parse_settings(settings or [])
        if unlabelled and (label or task):
            raise ValueError("`--label`, `--task`: nothing with --unlabelled. Leave them out.")
        if not unlabelled:
            check_data(layered(read_yaml(config), given))
        quiet_tensorflow()
        from mmkd_tf.config import make_config
        from mmkd_tf.data.shard_pipeline import find_beam
        from mmkd_tf.data.shard_plan import missing, plan, shard_settings
        from mmkd_tf.data.shard_writer import finish, make_shard
        from mmkd_tf.runs.data import dataset_options

        find_beam()
        made = make_config(given, config)
        label_columns = None if unlabelled else made.data.label
        how = shard_settings(table, made.inputs, label_columns, dataset_options(made))
        jobs = plan(table.resolve(), output.resolve(), how, rows_per_shard=rows_per_shard)
        wanted = missing(jobs)
        echo(f"{len(wanted):,} of {len(jobs):,} shards are to be made in {output}", err=True)
        run_jobs(
            wanted,
            make_shard,
            lambda: f"{len(jobs) - len(missing(jobs)):,} of {len(jobs):,} shards are there.",
            runner=runner,
            beam_options=beam_options,
        )
        manifest = finish(jobs)
    echo(json.dumps(manifest, ensure_ascii=False) if as_json else _summary(manifest, output))


def run_jobs(
    jobs: Sequence,
    make: Callable[..., Mapping],
    progress: Callable[[], str],
    *,
    runner: str,
    beam_options: Sequence[str] | None,
) -> None:
    """Has a runner do some jobs, see `run_pipeline`; `progress` says what is there if it stops."""
    from mmkd_tf.data.shard_pipeline import run_pipeline

    if not jobs:
        return
    flags = [f"--{option.removeprefix('--')}" for option in beam_options or []]
    try:
        with goes_on_later("Go on with the same command."):
            run_pipeline(jobs, make, runner=runner, options=flags)
    except typer.Exit:
        raise
    except Exception as error:
        if os.environ.get("MMKD_TF_TRACEBACK"):
            raise
        said = "the disk is full" if is_full_disk(error) else _last_line(error)
        raise ValueError(
            f"The pipeline on {runner} has stopped: {said}\n{progress()} Go on with the same "
            "command, once that is mended; MMKD_TF_TRACEBACK=1 shows all that the runner says."
        ) from None


def _last_line(error: Exception) -> str:
    """What went wrong on a worker, whose traceback comes as text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[-1] if lines else type(error).__name__
    return said.partition(" [while running")[0]


def _summary(manifest: Mapping, output: Path) -> str:
    lines = [
        f"{manifest['rows']:,} rows in {len(manifest['shards']):,} shards, "
        f"{manifest['bad_rows']:,} bad rows left out"
    ]
    lines += [f"{count:12,}  {reason}" for reason, count in manifest["left_out"].items()]
    lines += [f"  {line}" for line in manifest["shown"]]
    return "\n".join([*lines, f"Train with: mmkd-tf run {output}"])
