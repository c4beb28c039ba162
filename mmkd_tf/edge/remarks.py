"""Sentences on how sure an exported file is of its answer, and on words that it lacks."""

from collections.abc import Mapping, Sequence

# From these probabilities of the first class on, an answer is called sure, or fairly sure.
SURE, FAIRLY_SURE = 0.9, 0.5
# Of labels each by itself: how near to the threshold one is called open.
_OPEN = 0.15
# Below so many examples, and above this calibration error, shares of right answers are rough.
_FEW_EXAMPLES, _LARGE_ERROR = 200, 0.1
_LISTED = 8
_LONGEST = 60  # characters of a name or word


def certainty(
    probabilities: Mapping[str, float], *, calibrated: bool, threshold: float | None = None
) -> str:
    """Says how sure a file is of its answer.

    Args:
        probabilities: By name of a class or label, 0 to 1, the most probable first.
        calibrated: Whether they are as sure as they are right, by the file's temperature.
        threshold: Above which a label is given, where any number of them may be.
    """
    said = _of_class(probabilities, calibrated)
    if threshold is not None:
        said = _of_labels(probabilities, threshold)
    return said if calibrated else f"{said} (The probabilities of this file are not calibrated.)"


def rough_calibration(found: Mapping) -> str:
    """Says that probabilities are roughly calibrated at best; empty where they are well.

    Args:
        found: `num_examples` that the temperature was found on, and `error_after`, the calibration
            error on test, 0 to 1, as `calibration` in a run's results.
    """
    number, error = found.get("num_examples"), found.get("error_after")
    if number is not None and number < _FEW_EXAMPLES:
        return f"Probabilities calibrated on so few examples ({number:,}) are rough."
    if error is not None and error > _LARGE_ERROR:
        return f"Probabilities with such a calibration error ({error:.3f} on test) are rough."
    return ""


def _of_class(probabilities: Mapping[str, float], calibrated: bool) -> str:
    (first, probability), *others = probabilities.items()
    # Not "100 of 100", which no model is on what it has not seen.
    share = f"{min(max(round(100 * probability), 1), 99)} of 100 such answers are right"
    means = f": about {share}" if calibrated else ""
    if probability >= SURE:
        return f"It is sure{means}."
    if probability >= FAIRLY_SURE:
        return f"It is fairly sure{means}."
    likely = [name for name, other in others if other >= probability / 2][: _LISTED // 2]
    instead = f" It may as well be {' or '.join(likely)}." if likely else ""
    return f"It is NOT sure that this is {first}{means}.{instead}"


def _of_labels(probabilities: Mapping[str, float], threshold: float) -> str:
    near = [name for name, one in probabilities.items() if abs(one - threshold) <= _OPEN]
    given = sum(one > threshold for one in probabilities.values())
    said = "" if given else "It gives none of the labels. "
    if not near:
        return f"{said}It is fairly sure of each label."
    return f"{said}It is NOT sure about {_listed(near)}: probability near {threshold:g}."


def unknown_words(words: Mapping[str, Sequence[tuple[str, bool]]]) -> list[str]:
    """Says which words of texts a model does not know, a sentence for each text that has some.

    Args:
        words: By name of a text, the words that are read, each with whether it is known.
    """
    said = []
    for name, read in words.items():
        unknown = list(dict.fromkeys(word for word, known in read if not known))
        if not unknown:
            continue
        if any(known for _, known in read):
            said.append(f"It does not know these words of `{name}`: {_listed(unknown)}.")
        else:
            said.append(
                f"It knows no word of `{name}` ({_listed(unknown)}), so the text tells it nothing."
            )
    return said


def cut_words(words: Mapping[str, Sequence[str]]) -> list[str]:
    """Says which words of texts a file has no room for, a sentence for each text that has some."""
    return [
        f"It lacks room for the last words of `{name}`, and reads it without {_listed(cut)}."
        for name, cut in words.items()
        if cut
    ]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    shown = (name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..." for name in names[:_LISTED])
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
