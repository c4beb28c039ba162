"""The model card: what a released student is, for those who did not train it."""

from collections.abc import Mapping

from mmkd_tf.report import sentences as say
from mmkd_tf.report.page import render

# By what a file gives, the class of `mmkd_tf.edge` that reads it.
_READERS = {"probabilities": "Classifier", "values": "Regressor", "embedding": "Encoder"}


def model_card(results: Mapping) -> str:
    """Writes the card of what `results.json` holds as Markdown; what comes from data stays text."""
    task, inputs = say.task_of(results), say.read_by_student(results)
    read = {name: say.kinds(results)[name] for name in inputs}
    texts = [name for name, kind in read.items() if kind is not None and kind.takes_utf8]
    values = {name: "..." if kind is None else kind.example for name, kind in read.items()}
    arguments = ", ".join(f"{name}={value}" for name, value in values.items())
    if not all(map(str.isidentifier, values)):
        arguments = ", ".join(f"{name!r}: {value}" for name, value in values.items())
        arguments = f"**{{{arguments}}}"
    # Of pairs: what is no text finds a text, if there are both.
    query = next((name for name in read if name not in texts), next(iter(read)))
    limits = [kind.limits for kind in read.values() if kind is not None and kind.limits]
    credits = {name: say.setting(results, f"export.{name}") for name in ("author", "licence")}
    return render(
        "model_card.md",
        results=results,
        dataset=results["dataset"],
        task=task,
        inputs=inputs,
        values=values,
        texts=texts,
        query=query,
        sought=next((name for name in texts if name != query), None),
        reader=_READERS[task.output],
        arguments=arguments,
        credits={name: value for name, value in credits.items() if value},
        limits=[task.words.limits, *dict.fromkeys(limits)],
    )
