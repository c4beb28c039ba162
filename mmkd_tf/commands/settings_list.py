"""The command `settings`: each setting with its meaning, default and range."""

import json
import textwrap
from dataclasses import asdict, replace
from typing import Annotated

import typer

from mmkd_tf.commands.errors import errors_for_people
from mmkd_tf.quiet import quiet_tensorflow
from mmkd_tf.terminal import echo


def settings_command(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Show those alone that have one of these in their name.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show each setting of run with its meaning, default and range.

    A setting is given as --set NAME=VALUE, or in the YAML file of --config.
    """
    with errors_for_people():
        from mmkd_tf.settings.names import GROUPS, close_setting
        from mmkd_tf.settings.words import settings_of

        found = [s for name, model in GROUPS.items() for s in settings_of(model, f"{name}.")]
        parts = {part for s in found for part in s.name.split(".")} - {"inputs"}
        sought = [_of_any_input(word) for word in words or ()]
        if not sought or not all(word.partition(".")[0] in parts for word in sought):
            # What kinds of input there are takes TensorFlow's time.
            quiet_tensorflow()
            from mmkd_tf.config import RunConfig
            from mmkd_tf.modalities import KINDS

            grouped = (*GROUPS, "inputs")
            found += [s for s in settings_of(RunConfig) if s.name.partition(".")[0] not in grouped]
            for kind, modality in KINDS.items():
                found += [
                    replace(setting, meaning=f"Of kind {kind}: {setting.meaning}")
                    for setting in settings_of(modality.Options, "inputs.NAME.")
                    if setting.name != "inputs.NAME.kind"
                ]
        if words:
            chosen = [s for s in found if any(word in s.name for word in sought)]
            if not chosen:
                close = [name for word in words if (name := close_setting(word))]
                hint = f" Did you mean {' or '.join(close)}?" if close else ""
                raise ValueError(f"`NAME`: a part of a setting's name. Received: {words}.{hint}")
            found = chosen
    if as_json:
        echo(json.dumps([asdict(setting) for setting in found], ensure_ascii=False))
        return
    group = None
    for setting in found:
        if setting.name.partition(".")[0] != group:
            group = setting.name.partition(".")[0]
            echo()
        typer.secho(setting.name, bold=True)
        default = "" if setting.default is None else f" Default: {setting.default}."
        text = f"{setting.meaning}{default} Allowed: {setting.allowed}."
        echo(textwrap.fill(text, 92, initial_indent="    ", subsequent_indent="    "))


def _of_any_input(word: str) -> str:
    """What is asked of one input by its name is said of all: `inputs.photo.size`."""
    group, *rest = word.split(".")
    return ".".join(["inputs", "NAME", *rest[1:]]) if group == "inputs" and rest else word
