"""The section about what the fusion counts: how much each modality weighs."""

from mmkd_tf.report.model_card import MODELS
from mmkd_tf.report.sections.html import Markup, bar, folded, paragraph, section, table


def weights(results: dict) -> Markup:
    """Shows the weights that fusions give to each modality; nothing if they have none.

    Args:
        results: What `results.json` holds.
    """
    measured = results.get("modality_weights") or {}
    found = {name: weight for name, weight in measured.items() if weight}
    if not found:
        return Markup("")
    rows = [
        (
            MODELS.get(name, name),
            modality,
            bar(weight["mean"], f"{weight['mean']:.2f}"),
            f"{weight['low']:.2f} to {weight['high']:.2f}",
        )
        for name, by_modality in found.items()
        for modality, weight in by_modality.items()
    ]
    columns = ("model", "input", "mean weight", "most examples")
    return section(
        "What the fusion counts",
        paragraph(
            "The share of each input in what the models merge, on the test examples that have all "
            "of them: the mean, and between what a tenth of the examples lie below and a tenth "
            "above. A share says how much of an input's features goes into the sum, not how much "
            "the answer owes to it: that is what leaving it out shows."
        ),
        table(columns, rows, num_words=2),
        _by_class(found["student"]) if "student" in found else "",
    )


def _by_class(by_modality: dict) -> Markup:
    means = {name: weight.get("per_class", {}) for name, weight in by_modality.items()}
    classes = list(next(iter(means.values())))
    if not classes:
        return Markup("")
    rows = [(name, *(f"{of[name]:.2f}" for of in means.values())) for name in classes]
    return folded("Of the distilled student, class by class", table(("class", *means), rows))
