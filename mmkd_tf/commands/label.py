"""The command `data label`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mmkd_tf.commands.errors import errors_for_people
from mmkd_tf.commands.prepare import BeamOptions, Runner, run_jobs
from mmkd_tf.quiet import quiet_tensorflow
from mmkd_tf.terminal import echo


def label(
    shards: Annotated[Path, typer.Argument(help="A folder that data prepare made.")],
    *,
    teacher: Annotated[
        Path, typer.Option(help="The folder of a run, or teacher.keras in it, that answers.")
    ],
    runner: Runner = "DirectRunner",
    beam_options: BeamOptions = None,
) -> None:
    """Have a run's teacher answer the rows of shards by Apache Beam, for run --unlabelled.

    Answers are kept beside the shards. Shards that it has answered are not asked about again.
    """
    with errors_for_people():
        quiet_tensorflow()
        from mmkd_tf.data.shard_pipeline import find_beam
        from mmkd_tf.distill.shard_answers import answers_folder
        from mmkd_tf.files.shards import Shards
        from mmkd_tf.runs.labelling import answer_shard, teacher_of, unanswered

        find_beam()
        shards = shards.resolve()
        entries = Shards.open(shards).manifest["shards"]
        asked = teacher_of(teacher.resolve(), shards)
        wanted = unanswered(shards, asked)
        echo(f"{len(wanted):,} of {len(entries):,} shards are to be answered", err=True)
        run_jobs(
            wanted,
            partial(answer_shard, shards, asked),
            lambda: f"{len(unanswered(shards, asked)):,} of {len(entries):,} shards are left.",
            runner=runner,
            beam_options=beam_options,
        )
        rows = sum(entry["rows"] for entry in wanted)
        echo(
            f"{rows:,} rows answered, {len(entries) - len(wanted):,} shards reused, in "
            f"{answers_folder(shards, asked.key)}\nLearn from them: mmkd-tf run TABLE "
            f"--unlabelled {shards}"
        )
