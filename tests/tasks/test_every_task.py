"""What holds for every task, whatever it is; a new one in the table is tested with the others."""

import re

import keras
import numpy as np
import pytest

from mmkd_tf.config import make_config
from mmkd_tf.data.dataset import SPLITS, Dataset, Examples
from mmkd_tf.data.rows import Rows
from mmkd_tf.distill.distiller import Distiller
from mmkd_tf.distill.terms import SoftTargets
from mmkd_tf.distill.training import terms_of
from mmkd_tf.edge import Classifier, Encoder, Regressor
from mmkd_tf.modalities import KINDS
from mmkd_tf.tasks import TASKS, find_task, register_task, task_of_loss
from mmkd_tf.tasks.single_label import SingleLabel
from mmkd_tf.tasks.task import MISSING

RNG = np.random.default_rng(0)
NAMES = ["a", "b"]
# Of each task a column of cells, what they are, and one that can't be read, with a word of why.
CELLS = {
    "single_label": ([("a",), ("b",), ("a",), ("b",)], np.array([0, 1, 0, 1], np.int32)),
    "multi_label": (
        [("a|b",), ("b",), ("|",), (["a"],)],
        np.array([[1, 1], [0, 1], [0, 0], [1, 0]], np.float32),
    ),
    "regression": (
        [("1", 10), ("2.5", "-1e1"), (3, 20), (4, 0)],
        np.array([[1, 10], [2.5, -10], [3, 20], [4, 0]], np.float32),
    ),
    "retrieval": ([(), (), (), ()], np.array([0, 1, 2, 3], np.int32)),
    "embedding": ([("a",), ("b",), ("a",), ("b",)], np.array([0, 1, 0, 1], np.int32)),
}
# Tasks whose models name nothing.
NAMELESS = ("retrieval", "embedding")
BROKEN = {
    "single_label": [(("",), "missing"), ((["a"],), "a list"), (("a\nb",), "line break")],
    "multi_label": [((None,), "missing"), ((["a", None],), "one of the list is missing")],
    "regression": [(("x", 1), "a 'x': not a number"), ((1, ""), "b: missing")],
    "retrieval": [],
    "embedding": [(("",), "missing"), ((["a"],), "a list")],
}
# Outputs that say what the labels say.
PERFECT = {
    "single_label": 20.0 * np.eye(2)[[0, 1, 0, 1]] - 5,
    "multi_label": 20.0 * CELLS["multi_label"][1] - 10,
    "regression": CELLS["regression"][1].astype(float),
    "retrieval": np.concatenate([3 * np.eye(4), np.eye(4)], axis=1),
    "embedding": np.eye(2)[[0, 1, 0, 1]],
}
# The same outputs given to other examples; of pairs, halves that don't belong together; of
# identities, examples of two near each other.
WRONG = {name: outputs[::-1] for name, outputs in PERFECT.items()}
WRONG["retrieval"] = np.concatenate([3 * np.eye(4), np.eye(4)[::-1]], axis=1)
WRONG["embedding"] = np.eye(2)[[0, 0, 1, 1]]

pytestmark = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


def labels_of(task):
    return CELLS[task.name][1]


def loss_of(task):
    return task.loss(task.target_statistics(labels_of(task)))


def dataset_of(task):
    examples = Examples({"text": np.ones([4, 2], np.int32)}, labels_of(task))
    return Dataset(
        name="few",
        splits=dict.fromkeys(SPLITS, examples),
        class_names=[] if task.name in NAMELESS else NAMES,
        modalities={},
        task=task,
    )


def test_is_known_by_its_name(task):
    assert find_task(task.name) is find_task(task) is task
    with pytest.raises(ValueError, match=rf"one of .*{task.name}.*Received: task='guessing'"):
        find_task("guessing")
    assert make_config({"data.task": task.name}).data.task == task.name
    if task.has_labels:
        assert len(set(task.label_columns("label"))) == 1


def test_words_are_of_what_is_measured(task):
    figures = task.measure(
        labels=labels_of(task), outputs=PERFECT[task.name], names=NAMES, inputs=["image", "text"]
    )
    entries = figures[task.words.per_output]
    assert {key for _, key, _ in task.words.columns} <= set(figures)
    for entry in entries:
        assert {key for _, key, _ in task.words.output_columns} | {"name"} <= set(entry)
    assert task.words.columns[0][1] == task.headline
    assert task.words.output in ("class", "label", "target", "direction", "threshold")
    assert {"probabilities": Classifier, "values": Regressor, "embedding": Encoder}[task.output]
    for form in (*task.words.columns, *task.words.output_columns):
        format(1, form[2])


def test_the_best_score_is_that_of_the_labels_and_the_headline_of_all_figures(task):
    labels, perfect = labels_of(task), PERFECT[task.name]
    assert task.score(labels=labels, outputs=perfect) == 1
    noisy = perfect + 8 * RNG.normal(size=perfect.shape)
    figures = task.measure(labels=labels, outputs=noisy, names=NAMES)
    assert task.score(labels=labels, outputs=noisy) == figures[task.headline]
    compared = task.study_scores(labels=labels, outputs=noisy)
    assert (
        next(iter(compared)) == task.headline and compared[task.headline] == figures[task.headline]
    )
    each = task.example_scores(labels=labels, outputs=noisy)
    if each is not None:
        assert each.shape == (4,) and each.mean() == pytest.approx(figures[task.headline])


def test_what_has_diverged_or_does_not_fit_is_refused(task):
    labels, perfect = labels_of(task), PERFECT[task.name]
    broken = perfect.copy()
    broken[2, 0] = np.nan
    with pytest.raises(ValueError, match="finite numbers. Received: NaN or infinity in 1 of 4"):
        task.measure(labels=labels, outputs=broken, names=NAMES)
    for some in (slice(0), slice(3)):
        with pytest.raises(ValueError, match="shape|at least one example"):
            task.measure(
                labels=labels[some], outputs=perfect if some.stop else perfect[:0], names=NAMES
            )


def test_one_agrees_with_itself_alone(task):
    outputs = PERFECT[task.name]
    assert task.agreement(teacher_outputs=outputs, student_outputs=outputs) == 1
    assert task.agreement(teacher_outputs=outputs, student_outputs=WRONG[task.name]) < 1
    assert re.search("teacher.*test examples|test examples.*teacher", task.agreement_sentence(0.5))


def test_cells_are_read_and_problems_told_row_by_row(task):
    cells, expected = CELLS[task.name]
    columns = NAMES if task.name == "regression" else ["label"]
    labels, problems = task.read_labels(cells, separator="|", names=columns)
    assert not problems
    array = task.label_array(labels if task.has_labels else range(4), NAMES)
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == expected.dtype
    broken = BROKEN[task.name]
    cells = [row for row, _ in broken]
    labels, problems = task.read_labels(cells, separator="|", names=columns)
    assert list(problems) == list(range(len(broken))) and labels == [MISSING] * len(broken)
    for problem, (_, words) in zip(problems.values(), broken, strict=True):
        assert words in problem


def rows_of(task, count=30, names=("text",)):
    cells = [CELLS[task.name][0][i % 4] for i in range(count)]
    if task.name == "embedding":
        cells = [(f"identity {i % 10}",) for i in range(count)]
    columns = NAMES if task.name == "regression" else ["label"]
    labels, _ = task.read_labels(cells, separator="|", names=columns)
    inputs = {name: [f"{name} {number}" for number in range(count)] for name in names}
    kinds = dict.fromkeys(names, KINDS["text"])
    return Rows("a table", "from 0", range(count), labels, inputs, kinds)


def test_rows_are_checked_and_divided(task):
    names = ("question", "answer") if task.is_pairwise else ("text",)
    train = rows_of(task, names=names)
    tables, notes = task.complete({"train": train})
    assert tables == {"train": train} and not notes
    known = task.output_names(NAMES)
    _, found, general = task.check(tables, held_out=["test"], names=known)
    assert not general and not train.problems
    assert found == ([] if task.name in NAMELESS else NAMES)
    task.number(tables)
    splits = task.divide(train.labels, train.content_keys(), fractions={"test": 0.2}, seed=0)
    assert (
        sorted(np.concatenate([*splits.values()])) == list(range(30)) and len(splits["test"]) >= 4
    )
    assert not task.training_problems([train.labels[i] for i in splits["train"]], found)


def test_no_rows_and_inputs_without_values_are_told(task):
    names = ("question", "answer") if task.is_pairwise else ("text",)
    empty = rows_of(task, count=0, names=names)
    problems = task.check({"train": empty}, held_out=[], names=task.output_names(NAMES))[2]
    assert problems == ["a table: no rows left."]
    if not task.is_pairwise:
        blank = rows_of(task)
        blank.inputs["text"] = [""] * 30
        problems = task.check({"train": blank}, held_out=[], names=task.output_names(NAMES))[2]
        assert problems == [
            "a table: no row has a text with words; name the right column, or leave out the input "
            "'text'."
        ]


def test_the_loss_is_the_tasks_own_and_is_least_at_the_labels(task):
    loss, labels, perfect = loss_of(task), labels_of(task), PERFECT[task.name]
    assert task_of_loss(loss) is task
    assert [other for other in TASKS.values() if other.fits(loss)] == [task]
    best = float(loss(labels, perfect.astype("float32")))
    assert best < float(loss(labels, WRONG[task.name].astype("float32")))
    for metric in task.metrics():
        if metric != "accuracy":
            metric.update_state(labels, perfect)
            assert np.isfinite(float(metric.result()))
            assert task.metrics()[0] is not metric  # each training has its own


def test_the_default_soft_targets_are_usable_and_none_of_the_unfit(task):
    loss, outputs = loss_of(task), PERFECT[task.name].astype("float32")
    soft = task.soft_targets(loss)
    assert soft.loss is next(iter(task.soft_target_losses.values()))[0]
    assert soft.loss not in task.unfit_soft_targets and soft.weight > 0
    heat = {} if soft.temperature is None else {"temperature": soft.temperature}
    same = soft.loss(teacher_logits=outputs, student_logits=outputs, **heat, **soft.options)
    wrong = WRONG[task.name].astype("float32")
    other = soft.loss(teacher_logits=outputs, student_logits=wrong, **heat, **soft.options)
    assert np.mean(same) < np.mean(other)
    models = [keras.Sequential([keras.Input([3]), keras.layers.Dense(2)]) for _ in range(2)]
    distiller = Distiller(student=models[0], teacher=models[1])
    distiller.compile(loss=loss)
    for unfit in task.unfit_soft_targets:
        with pytest.raises(ValueError, match=rf"`terms`: with .*loss=losses.{soft.loss.__name__}"):
            distiller.compile(loss=loss, terms=[SoftTargets(loss=unfit)])


def test_a_run_and_a_distiller_have_the_same_defaults(task):
    dataset = dataset_of(task)
    settings = make_config({}).distillation
    (term,) = terms_of(settings.for_task(task), dataset, inputs=["text"])
    soft = task.soft_targets(loss_of(task))
    assert (term.loss, term.temperature, term.weight) == (soft.loss, soft.temperature, soft.weight)
    assert dict(term.loss_options) == dict(soft.options)
    for name, (loss, options) in task.soft_target_losses.items():
        named = settings.model_copy(update={"soft_target_loss": name})
        (term,) = terms_of(named.for_task(task), dataset, inputs=["text"])
        assert term.loss is loss and dict(term.loss_options).items() >= dict(options).items()


def test_a_file_answers_as_keras_does_and_the_answer_can_be_undone(task):
    outputs = RNG.normal(size=[6, 8]).astype("float32")
    answers = task.activate(outputs, name=task.output).numpy()
    assert answers.dtype == np.float32 and answers.shape == outputs.shape
    if task.output_range and task.output == "probabilities":
        low, high = task.output_range
        assert low <= answers.min() and answers.max() <= high
    again = task.activate(task.deactivate(answers)).numpy()
    np.testing.assert_allclose(again, answers, atol=1e-6)
    expected, found, scale = task.comparable(outputs, answers)
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)
    assert expected.dtype == found.dtype == np.float64 and scale >= 1
    assert task.same_answers(expected, found) == 1 and task.spread(expected) > 0
    far = task.activate(outputs[::-1]).numpy()
    assert task.same_answers(expected, task.comparable(outputs, far)[1]) < 1


def test_says_what_it_is(task):
    assert "image and text" in task.purpose("image and text", 3)
    assert task.examples_have(3)
    lines = repr(dataset_of(task)).splitlines()
    assert lines[0].startswith("Dataset few: 4 train, 4 validation, 4 test, ")
    counts = task.output_counts(labels_of(task), NAMES)
    assert list(counts) == (NAMES if task.counts_outputs else [])
    assert len(lines) == (1 if task.name in NAMELESS else 3)
    for setting, reason in task.ignored_settings.items():
        group, name = setting.split(".")
        assert name in type(getattr(make_config({}), group)).model_fields and reason


def test_another_task_can_take_its_place(task):
    class Stars(type(task)):
        name = "stars"

    made = Stars()
    try:
        assert register_task(made) is made
        assert find_task("stars") is made and list(TASKS)[-1] == "stars"
        assert dataset_of(task).fingerprint() != "" and make_config({"data.task": "stars"})
        assert task_of_loss(loss_of(task)) is task  # the first that it fits
    finally:
        TASKS.pop("stars", None)
    with pytest.raises(TypeError, match="an object of a subclass of Task"):
        register_task(SingleLabel)
