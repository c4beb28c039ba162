"""What a run and an export print at their end."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmkd_tf.report import run_tables as tables
from mmkd_tf.report import sentences as say
from mmkd_tf.report.tables import wrapped
from mmkd_tf.report.verdict import ONE_SEED, verdict

_FURTHER = (
    say.teacher_comparison,
    say.finetuning,
    say.can_help,
    say.inheritance,
    say.transfer,
    say.unknown_words,
)


def summary(results: Mapping) -> str:
    """Writes the comparison and the exported files of `results.json` as plain text."""
    seconds = results["seconds"]
    stages = ", ".join(f"{stage.replace('_', ' ')} {value:.0f}" for stage, value in seconds.items())
    peak = results.get("peak_memory_mib")
    memory = "" if peak is None else f", peak memory {peak:,.0f} MiB"
    parts = [
        "",
        wrapped(verdict(results).sentence),
        *(wrapped(text) for text in [say.first_look(results)] if text),
        "\nOn the test split:",
        tables.comparison(results).to_text(),
        wrapped(ONE_SEED),
        *(wrapped(text) for text in (tell(results) for tell in _FURTHER) if text),
        *_robustness(results),
        "",
        *([exports_text(results["exports"]), ""] if results["exports"] else []),
        wrapped(f"{sum(seconds.values()):.0f} seconds ({stages}){memory}"),
    ]
    return "\n".join(parts)


def _robustness(results: Mapping) -> list[str]:
    if not results.get("robustness"):
        return []
    parts = ["", tables.absence(results).to_text()]
    if means := say.means_under_damage(results):
        headline = say.task_of(results).words.headline
        parts.append(wrapped(f"Mean {headline} of the distilled student under damage: {means}."))
    return [*parts, wrapped(f"Measured on {say.damaged(results)}.")]


def exports_text(exports: Sequence[Mapping]) -> str:
    """Writes the exported files beside Keras, and the levels that were tried, as plain text."""
    files = tables.files(exports)
    tried = tables.levels(exports)
    parts = [files.without("most calls", files.columns[-1]).to_text()]
    parts += [f"\n{table.to_text()}" for table in tried]
    if tried:
        parts.append(wrapped(say.LEVELS))
    if refused := say.four_bits(exports):
        parts.append(wrapped(refused))
    parts.append(f"Measured on {say.compared_on(exports)} validation examples.")
    return "\n".join(parts)


def next_steps(results: Mapping, folder: Path) -> str:
    """Where the files of a run are, and what to do with them, a line each."""
    steps = [f"Files: {folder}", f"Open {folder / 'report.html'}"]
    if asked := _asked(results):
        steps.append(f"Try {shlex.join(['mmkd-tf', 'predict', str(folder), *asked])}")
    return "\n".join(steps)


def _asked(results: Mapping) -> list[str]:
    """Arguments of `mmkd-tf predict` for one value of an input, or for a table."""
    task, found = say.task_of(results), say.kinds(results).items()
    read = say.read_by_student(results)
    kinds = {name: kind for name, kind in found if name in read and kind is not None}
    texts = [name for name, kind in kinds.items() if kind.takes_utf8]
    others = [name for name in kinds if name not in texts]
    # Of pairs: what is no text finds a text, if there are both.
    names = [*others, *texts] if task.is_pairwise else [*texts, *others]
    # Of some kinds a value is no text that a flag can give.
    name = next((name for name in names if kinds[name].example.startswith('"')), None)
    if name is None:
        return [] if task.gives_embeddings else ["new.csv", "--output", "answers.csv"]
    value = kinds[name].example.strip('"')
    asked = [f"--{name}", value] if name in ("image", "text") else ["--input", f"{name}={value}"]
    if not task.gives_embeddings or (task.is_pairwise and set(texts) - {name}):
        return asked
    # By an embedding of several inputs the command compares nothing.
    return [*asked, "--candidates", "candidates.txt"] if task.is_pairwise or len(kinds) < 2 else []
