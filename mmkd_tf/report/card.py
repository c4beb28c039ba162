"""The model card: what a released student is, for those who did not train it."""

import math
import re
from collections.abc import Mapping

import yaml

from mmkd_tf.report import sentences as say
from mmkd_tf.report.page import render

# By what a file gives, the class of `mmkd_tf.edge` that reads it.
_READERS = {"probabilities": "Classifier", "values": "Regressor", "embedding": "Encoder"}
# What model hubs call what is done with an input of a kind; of several the first that is read.
_CLASSIFIES = {
    "image": "image-classification",
    "text": "text-classification",
    "audio": "audio-classification",
}
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*", re.IGNORECASE)  # such as CC-BY-SA-4.0


def model_card(results: Mapping) -> str:
    """Writes the card of what `results.json` holds as Markdown; what comes from data stays text."""
    task, inputs = say.task_of(results), say.read_by_student(results)
    read = {name: say.kinds(results)[name] for name in inputs}
    texts = [name for name, kind in read.items() if kind is not None and kind.takes_utf8]
    values = {name: "..." if kind is None else kind.example for name, kind in read.items()}
    arguments = ", ".join(f"{name}={value}" for name, value in values.items())
    # Of pairs: what is no text finds a text, if there are both.
    query = next((name for name in read if name not in texts), next(iter(read)))
    limits = [kind.limits for kind in read.values() if kind is not None and kind.limits]
    credits = {name: say.setting(results, f"export.{name}") for name in ("author", "licence")}
    return render(
        "model_card.md",
        header=_header(results, read),
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


def _header(results: Mapping, read: Mapping) -> str:
    """What model hubs read of a card: YAML of licence, tags, what it is for, and test figures."""
    task, name = say.task_of(results), results["dataset"]["name"]
    kinds = [kind.kind for kind in read.values() if kind is not None]
    done = "feature-extraction" if task.gives_embeddings else None
    if task.output == "probabilities":
        done = next((words for kind, words in _CLASSIFIES.items() if kind in kinds), None)
    measured = results["student"]["test"]
    figures = [
        {"type": key, "name": title, "value": round(measured[key], 4)}
        for title, key, _ in task.words.columns[:3]
        if isinstance(measured.get(key), float) and math.isfinite(measured[key])
    ]
    done_task = {"type": done or "other", "name": task.name.replace("_", " ")}
    result = {
        "task": done_task,
        "dataset": {"type": re.sub(r"\W+", "-", name).strip("-") or "table", "name": name},
        "metrics": figures,
    }
    found = {
        **_licence(say.setting(results, "export.licence")),
        "library_name": "tflite",
        "tags": list(dict.fromkeys(["tflite", "litert", "knowledge-distillation", *kinds])),
        **({"pipeline_tag": done} if done else {}),
        "model-index": [{"name": f"Student distilled on {name}", "results": [result]}],
    }
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1000)


def _licence(said: str | None) -> dict[str, str]:
    """A licence's identifier in lower case; of other words `other` and their first line."""
    if not said:
        return {}
    if _LICENCE.fullmatch(said):
        return {"license": said.lower()}
    return {"license": "other", "license_name": said.splitlines()[0][:80]}
