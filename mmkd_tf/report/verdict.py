"""The verdict: whether to ship a student, and what inheritance and its teacher brought.

One place decides what terminal, page, model card and study say of it.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmkd_tf.evaluate.run_comparison import DIFFERENCES
from mmkd_tf.evaluate.statistics import Comparison, wilson_interval
from mmkd_tf.report.sentences import MODELS, first_look, nothing_seen, setting, task_of
from mmkd_tf.settings.groups import TrainingSettings
from mmkd_tf.tasks.task import Task

YES, NO, UNCLEAR = "yes", "no", "unclear"

# The fewest test examples, and seeds of a study, of which a verdict is given.
LEAST_EXAMPLES = 20
LEAST_SEEDS = 5
# A student that is worse than its teacher beyond chance is shipped where it keeps this share of
# what the teacher has over an answer that looks at no input.
KEPT = 0.75
_STUDENTS = ("student", "student_alone", "student_scratch")
_USUAL_EPOCHS: int = TrainingSettings.model_fields["epochs"].default

RULE = (
    "The rule: the distilled student is to be shipped where it is better than an answer that looks "
    "at no input, not worse than the student alone, and as good as its teacher or with at least "
    f"{KEPT:.0%} of what the teacher has over that answer; each beyond what the choice of the test "
    f"examples can make, of which there must be {LEAST_EXAMPLES}. Where the student alone measured "
    "better by no more than that, either may be shipped; a first look (--fast) decides nothing. "
    "Whether that is enough for a use is for people to say."
)
ONE_SEED = (
    "The intervals speak of the choice of the test examples alone, of a run with one seed: another "
    "seed gives other figures. mmkd-tf study repeats the comparison over seeds."
)


@dataclass(frozen=True)
class Verdict:
    """Whether to ship the distilled student.

    Attributes:
        ship: "yes", "no" or "unclear", which a first look and a student alone that measured
            better by no more than chance can make are too.
        sentence: That in short sentences: whether to ship, figures, what brought them.
    """

    ship: str
    sentence: str


def verdict(results: Mapping) -> Verdict:
    """Judges a run by what `results.json` holds, of earlier versions and unfinished runs too."""
    if "student" not in results:
        return Verdict(UNCLEAR, "There is no verdict yet: the run has not finished.")
    compared = comparison_of(results)
    ship, start = _decide(results, compared)
    parts = (_figures(results, compared), _inheritance(results, compared))
    parts = (start, *parts, _teaching(results, compared))
    said = [f"{part[0].upper()}{part[1:]}." for part in parts if part]
    return Verdict(ship, " ".join([*said, *_more_training(results, compared)]))


def study_verdict(comparison: Comparison, task: Task, *, student=None, most_frequent=None) -> str:
    """Says whether distillation helped over the seeds of a study.

    `student` is the mean accuracy, 0 to 1, of the distilled students, and `most_frequent` the share
    of the most frequent class of the same examples; None where it is not known.
    """
    text = _over_seeds(comparison, task)
    if student is None or most_frequent is None or student > most_frequent:
        return text
    return (
        f"{text} The distilled students reach {student:.1%}, no more than always naming the most "
        f"frequent class ({most_frequent:.1%}): they were probably trained too briefly. Give them "
        "more epochs (--set training.epochs=N)."
    )


def _over_seeds(comparison: Comparison, task: Task) -> str:
    seeds, interval = len(comparison.differences), comparison.interval
    points = f"{100 * comparison.mean_difference:+.1f} points of {task.words.headline}"
    if interval is None:
        return f"Can't be told from one seed: {points}."
    low, high = interval
    if nothing_seen(interval):
        points += f" (no difference seen with any of {seeds} seeds)"
    else:
        points += f" (95 % over {seeds} seeds: {100 * low:+.1f} to {100 * high:+.1f})"
    # With fewer seeds such an interval leaves out zero far too often where there is no effect.
    if seeds < LEAST_SEEDS:
        return f"Can't be told from {seeds} seeds: {points}. Use at least {LEAST_SEEDS}."
    if low > 0:
        return f"Distillation helped: {points}; {closed_words(comparison.gap_closed)}."
    if high < 0:
        return f"Distillation did not help: {points}."
    return f"Can't be told from {seeds} seeds: {points}."


def closed_words(closed: float | None) -> str:
    """Says how much of the gap to the teacher was closed; None is no gap beyond chance."""
    if closed is None:
        return (
            "no share of the gap to the teacher is told, as the choice of test examples could make "
            "such a gap"
        )
    share = "none" if closed <= 0 else "all" if closed >= 1 else f"{closed:.0%}"
    return f"{share} of the gap to the teacher was closed"


def comparison_of(results: Mapping) -> dict:
    """`test_comparison` of results; of older ones what can be said, without most intervals."""
    if found := results.get("test_comparison"):
        return found
    task, num_test = task_of(results), results["dataset"]["sizes"]["test"]
    scores = {
        name: results[name]["test"][task.headline]
        for name in dict.fromkeys(name for pair in DIFFERENCES.values() for name in pair)
        if name in results
    }
    intervals = dict.fromkeys(scores)
    if task.has_one_class and num_test:
        intervals = {name: wilson_interval(score, num_test) for name, score in scores.items()}
    naive = _most_frequent(results) if task.has_one_class else None
    if naive:
        scores["naive"] = naive["score"]
    differences = {
        name: {"difference": scores[first] - scores[second], "interval": None}
        for name, (first, second) in DIFFERENCES.items()
        if first in scores and second in scores
    }
    if naive and (interval := intervals["student"]):
        differences["over_naive"]["interval"] = [end - naive["score"] for end in interval]
    return {
        "num_examples": num_test,
        "naive": naive,
        "intervals": intervals,
        "differences": differences,
    }


def score_words(task: Task, value: float | None) -> str:
    """A task's figure as it is said: an accuracy in percent."""
    return "-" if value is None else format(value, ".1%" if task.has_one_class else ".3f")


def difference_words(task: Task, value: float) -> str:
    """A difference of figures, with its sign: of accuracies in points."""
    return f"{100 * value:+.1f} points" if task.has_one_class else f"{value:+.3f}"


def interval_words(task: Task, interval: Sequence[float] | None, *, signed: bool) -> str:
    """Ends of a 95 % interval, of a figure or, `signed`, of a difference."""
    if interval is None:
        return "-"
    if signed:
        if nothing_seen(interval):
            return "no difference seen"
        scale, form = (100, "+.1f") if task.has_one_class else (1, "+.3f")
        return " to ".join(format(scale * end, form) for end in interval)
    return " to ".join(score_words(task, end) for end in interval)


def naive_words(compared: Mapping) -> str:
    """What an answer that looks at no input does, on one line."""
    return textwrap.shorten(compared["naive"]["words"], 70, placeholder="...")


def _most_frequent(results: Mapping) -> dict | None:
    counts = results["dataset"].get("class_counts") or {}
    if not sum(counts.get("test", {}).values()) or not counts.get("train"):
        return None
    name = max(counts["train"], key=counts["train"].get)
    share = counts["test"].get(name, 0) / sum(counts["test"].values())
    return {"words": f"always naming {name}", "score": share}


def _decide(results: Mapping, compared: Mapping) -> tuple[str, str]:
    """Whether to ship, and the first sentence."""
    ship, start = _whole_decision(results, compared)
    if not first_look(results):
        return ship, start
    if ship == YES:
        return UNCLEAR, "First look (--fast): so far the distilled student is good enough to ship"
    return ship, f"First look (--fast): {start[0].lower()}{start[1:]}"


def _whole_decision(results: Mapping, compared: Mapping) -> tuple[str, str]:
    student, found = "the distilled student", compared["differences"]
    over, behind = found.get("over_naive"), found.get("to_teacher")
    if compared["num_examples"] < LEAST_EXAMPLES:
        return UNCLEAR, f"Too few test examples to tell whether to ship {student}"
    if over is None or over["interval"] is None:
        return UNCLEAR, f"Can't be told whether to ship {student}, for want of intervals"
    if over["interval"][0] <= 0:
        return NO, f"Don't ship {student}, which is no better than {naive_words(compared)}"
    if _beyond(found.get("teaching"), -1):
        return NO, f"Don't ship {student} but the student alone, which is better"
    if behind is not None and (_beyond(behind, -1) or behind["interval"] is None):
        lead = over["difference"] - behind["difference"]  # of the teacher over the naive answer
        kept = over["difference"] / lead if lead > 0 else 1.0
        if kept < KEPT:
            return NO, f"Don't ship {student} yet, which keeps {kept:.0%} of its teacher's lead"
    if (teaching := found.get("teaching")) is not None and teaching["difference"] < 0:
        by = difference_words(task_of(results), -teaching["difference"]).removeprefix("+")
        chance = "how much of that is chance is not known"
        if teaching["interval"] is not None:
            chance = "no more than chance can make"
        return UNCLEAR, (
            f"{student} is good enough to ship, but the student alone, as small, measured better "
            f"here by {by} ({chance}; files of that one: mmkd-tf export DIR --output exported "
            "--model student_alone)"
        )
    return YES, f"Ship {student}"


def _beyond(found: Mapping | None, sign: int) -> bool:
    """Whether a difference is above 0 beyond chance, or with sign -1 below."""
    if found is None or found["interval"] is None:
        return False
    low, high = found["interval"]
    return low > 0 if sign > 0 else high < 0


def _more_training(results: Mapping, compared: Mapping) -> list[str]:
    """What to do about students that guess, or that were still learning when training ended."""
    epochs = setting(results, "training.epochs")
    if compared["naive"] is None or not isinstance(epochs, int):
        return []
    names = [name for name in _STUDENTS if name in compared["intervals"]]
    guessing = [name for name in names if _guesses(name, results, compared)]
    number = "1 epoch" if epochs == 1 else f"{epochs:,} epochs"
    more = f"try more, such as --epochs {max(2 * epochs, _USUAL_EPOCHS)}."
    said = []
    if guessing:
        whose = "Its training" if guessing == ["student"] else f"The training of {_named(guessing)}"
        probably = "probably" if epochs < _USUAL_EPOCHS else "perhaps"
        said.append(f"{whose} was {probably} too short ({number}): {more}")
    learning = [name for name in names if name not in guessing and _still_learns(results, name)]
    if learning and epochs < _USUAL_EPOCHS and not first_look(results):
        so = "with more epochs differences may be others"
        said.append(
            f"At the end ({number}) the validation loss of {_named(learning)} still fell, so {so}"
            f"{'.' if guessing else f': {more}'}"
        )
    return said


def _named(models: Sequence[str]) -> str:
    *first, last = (f"the {MODELS[name]}" for name in models)
    return f"{', '.join(first)} and {last}" if first else last


def _guesses(name: str, results: Mapping, compared: Mapping) -> bool:
    """Whether a student knows no more than an answer that looks at no input."""
    naive, key = compared["naive"]["score"], task_of(results).headline
    over, interval = results[name]["test"][key] - naive, compared["intervals"][name]
    low = None if interval is None else interval[0] - naive
    if name == "student" and (paired := compared["differences"].get("over_naive")):
        over, low = paired["difference"], paired["interval"] and paired["interval"][0]
    enough = compared["num_examples"] >= LEAST_EXAMPLES
    return over <= 0 or (enough and low is not None and low <= 0)


def _still_learns(results: Mapping, name: str) -> bool:
    """Whether the last epoch had the least loss on validation of all."""
    losses = (results.get("history") or {}).get(name, {}).get("val_loss") or []
    *before, last = [loss for loss in losses if loss is not None] or [0.0]
    return bool(before) and last < min(before)


def _figures(results: Mapping, compared: Mapping) -> str:
    task, interval = task_of(results), compared["intervals"]["student"]
    score = results["student"]["test"][task.headline]
    whose = "its"
    if compared["differences"].get("teaching", {"difference": 0})["difference"] < 0:
        whose = "the distilled student's"  # as another was just named
    text = f"on {compared['num_examples']:,} test examples {whose} {task.words.headline} is "
    text += score_words(task, score)
    if interval is not None:
        text += f" (95 %: {interval_words(task, interval, signed=False)})"
    beside = []
    if teacher := results.get("teacher"):
        larger = teacher["parameters"] / max(results["student"]["parameters"], 1)
        size = f", {larger:,.0f} times as large," if larger >= 1.5 else ""
        reached = score_words(task, teacher["test"][task.headline])
        beside.append(f"its teacher{size} reaches {reached}")
    if compared["naive"]:
        naive = score_words(task, compared["naive"]["score"])
        beside.append(f"{naive_words(compared)} {'' if beside else 'reaches '}{naive}")
    return f"{text}; {', '.join(beside)}" if beside else text


def _inheritance(results: Mapping, compared: Mapping) -> str:
    if not results.get("inherited"):
        return ""
    if "inheritance" not in compared["differences"]:
        return "what inheritance brought was not measured (--compare scratch)"
    return f"inheritance brought {_brought(results, compared, 'inheritance')}"


def _teaching(results: Mapping, compared: Mapping) -> str:
    teaching, gap = (compared["differences"].get(name) for name in ("teaching", "gap"))
    if teaching is None:
        return ""
    text = f"the teacher brought {_brought(results, compared, 'teaching')}"
    if gap is None or gap["interval"] is None:
        return text
    if not _beyond(gap, 1):
        return f"{text} and is itself no better than the student alone beyond chance"
    if _beyond(teaching, 1):
        share = min(teaching["difference"] / gap["difference"], 1)
        closed = "all" if share == 1 else f"{share:.0%}"
        text += f", {closed} of the gap to it"
    return text


def _brought(results: Mapping, compared: Mapping, name: str) -> str:
    task, found = task_of(results), compared["differences"][name]
    text = difference_words(task, found["difference"])
    if found["interval"] is None:
        return f"{text} (how much of that is chance is not known)"
    if nothing_seen(found["interval"]):
        return f"{text} (no difference seen on {compared['num_examples']:,} examples)"
    text += f" (95 %: {interval_words(task, found['interval'], signed=True)}"
    chance = "" if _beyond(found, 1) or _beyond(found, -1) else ", no more than chance can make"
    return f"{text}{chance})"
