"""The commands `data list` and `data clear`."""

from datetime import datetime
from typing import Annotated

import typer

from mmkd_tf.commands.errors import errors_for_people
from mmkd_tf.files.kept import DECODED, FEATURES, Kept, cache_folder, kept_files, limit_bytes
from mmkd_tf.terminal import echo

data = typer.Typer(no_args_is_help=True, help="Large tables as shards, and what is kept of data.")


@data.command("list")
def list_kept() -> None:
    """Show decoded pictures and features on this machine: of what, how large, when last used."""
    with errors_for_people():
        from rich.console import Console
        from rich.table import Table

        found, limit = kept_files(DECODED, FEATURES), limit_bytes()
        if not found:
            echo(f"Nothing is kept in {cache_folder()}.")
            return
        table = Table("name", "what", "of", "MB", "last used")
        table.columns[3].justify = "right"
        for one in reversed(found):
            used = datetime.fromtimestamp(one.used).strftime("%Y-%m-%d %H:%M")
            size = f"{one.num_bytes / 1e6:,.1f}"
            what = "pictures" if one.part == DECODED else "features"
            table.add_row(one.name, what, one.source, size, used)
        Console().print(table)
        total = sum(one.num_bytes for one in found) / 1e6
        echo(f"{total:,.0f} MB in {cache_folder()}; of pictures {limit / 1e9:g} GB at most.")


@data.command("clear")
def clear_kept(
    name: Annotated[
        str | None,
        typer.Argument(help="One that `mmkd-tf data list` shows.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Remove what is kept: one of them, or all; later runs make it again."""
    with errors_for_people():
        found = kept_files(DECODED, FEATURES)
        if (name is None) != everything:
            raise ValueError("`NAME`: one that `mmkd-tf data list` shows, or --all in its place.")
        chosen = [one for one in found if everything or _is_called(one, name)]
        if name is not None and not chosen:
            raise ValueError(
                f"`NAME`: one that `mmkd-tf data list` shows. Received: {name}. There are "
                f"{', '.join(one.name for one in found) or 'none'}."
            )
        for one in chosen:
            one.remove()
        megabytes = sum(one.num_bytes for one in chosen) / 1e6
        echo(f"Removed {len(chosen)}, {megabytes:,.1f} MB.")


def _is_called(one: Kept, name: str | None) -> bool:
    return name in (one.name, one.path.name)
