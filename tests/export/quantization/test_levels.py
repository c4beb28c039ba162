from dataclasses import replace

import numpy as np
import pytest

from mmkd_tf.export.convert import convert
from mmkd_tf.export.parity import keras_logits
from mmkd_tf.export.quantization import levels as module
from mmkd_tf.export.quantization.levels import LEVELS, LevelResult, select_level


@pytest.fixture(scope="module")
def content(model, examples):
    return convert(model, examples)


@pytest.fixture(scope="module")
def logits(model, examples):
    return keras_logits(model, examples)


@pytest.fixture
def arguments(content, examples, logits):
    return {
        "content": content,
        "calibration": examples,
        "inputs": examples,
        "logits": logits,
        "labels": logits.argmax(axis=1),
    }


def faked(monkeypatch, answers, sizes):
    """Lets levels give these first classes, in files of these sizes."""
    monkeypatch.setattr(module, "quantize", lambda content, level, examples, task: level.encode())

    class Runner:
        def __init__(self, content):
            self.level = content.decode()

        def __call__(self, inputs):
            return np.eye(3)[answers[self.level]] * 0.9 + 0.05

    original = module._measure

    def measured(level, content, *rest):
        return replace(original(level, content, *rest), bytes=sizes[level])

    monkeypatch.setattr(module, "TensorRunner", Runner)
    monkeypatch.setattr(module, "_measure", measured)
    monkeypatch.setattr(
        module, "interleaved_latency_ms", lambda contents, inputs: dict.fromkeys(contents, 1.0)
    )


def test_measures_all_levels(arguments):
    found = select_level(**arguments)
    assert [result.level for result in found.results] == list(LEVELS)
    assert found.keras_accuracy == 1.0
    by_level = {result.level: result for result in found.results}
    exact = by_level["float32"]
    assert exact.bytes == len(arguments["content"])
    assert exact.accepted and exact.accuracy == exact.top1_agreement == 1.0
    assert exact.max_abs_logit_difference < 1e-4
    for result in found.results:
        assert 0 < result.latency_ms < 100
        assert result.accepted == (result.reason is None)
    assert 1e-6 < by_level["float16"].max_abs_logit_difference < 0.01
    smallest = min(result.bytes for result in found.results if result.accepted)
    assert by_level[found.level].bytes <= 1.01 * smallest
    assert len(found.content) == by_level[found.level].bytes < exact.bytes


def rights(*changed, n=400):
    """First classes of which some are another than 0, which is right."""
    answers = np.zeros(n, int)
    answers[list(changed)] = 1
    return answers


@pytest.fixture
def fake(monkeypatch):
    def run(answers, n=400, sizes=None, **options):
        sizes = sizes or {level: 600 - 100 * index for index, level in enumerate(LEVELS)}
        everything = {level: rights(n=n) for level in LEVELS} | answers
        faked(monkeypatch, everything, sizes)
        logits = np.eye(3)[rights(n=n)].astype("float32")
        options = {"labels": np.zeros(n, int), "logits": logits} | options
        return select_level(
            b"",
            calibration={},
            inputs={"x": np.zeros(n)},
            **options,
        )

    return run


def test_takes_the_smallest_that_is_accepted(fake):
    # Of 400, two are half a point.
    found = fake({"mixed": rights(0, 1), "mixed4": rights(0, 1, 2)})
    assert [result.accepted for result in found.results] == [True] * 5 + [False]
    assert found.level == "mixed" and found.content == b"mixed"
    assert found.results[-1].reason == "loses 0.0075 of accuracy, more than 0.0050"
    assert fake({"mixed4": rights(0, 1, 2)}, max_accuracy_loss=0.01).level == "mixed4"


@pytest.mark.parametrize(("size", "level"), [(1_009, "mixed"), (1_011, "mixed4")])
def test_hardly_any_bytes_are_not_worth_another_answer(fake, size, level):
    sizes = dict.fromkeys(LEVELS, 2_000) | {"mixed": size, "mixed4": 1_000}
    assert fake({"mixed4": rights(0)}, sizes=sizes).level == level


def test_gains_and_losses_that_cancel_out_by_luck_are_not_accepted(fake, monkeypatch):
    labels = rights(*range(5))
    changed = rights(*range(10))  # five become right, five wrong
    found = fake({"mixed4": changed}, labels=labels)
    assert found.results[-1].accuracy == found.keras_accuracy
    assert "differs from Keras in 0.0250, more than 0.0100" in found.results[-1].reason
    monkeypatch.setattr(module, "_MIN_GOOD_AGREEMENT", 0)
    assert fake({"mixed4": changed}, labels=labels).level == "mixed4"


def test_near_ties_count_as_the_same_answer(fake):
    logits = np.eye(3)[rights()].astype("float32")
    for gap, accepted in ((0.04, True), (0.06, False)):
        # p and p - gap for the first two of three classes, of which the last has a tenth.
        first = (0.9 + gap) / 2
        logits[:20] = np.log([first, first - gap, 0.1])
        # Ten of 400 right answers become wrong, as many wrong ones right.
        found = fake({"mixed4": rights(*range(20))}, logits=logits, labels=rights(*range(10)))
        mixed4 = found.results[-1]
        assert (found.keras_accuracy, mixed4.accuracy) == (0.975, 0.975)
        assert mixed4.top1_agreement == 0.95
        assert (mixed4.good_agreement, mixed4.accepted) == (
            (1, True) if accepted else (0.95, False)
        )


def test_one_example_does_not_decide(fake):
    assert fake({"mixed4": rights(0, n=20)}, n=20).level == "mixed4"
    assert fake({"mixed4": rights(0, 1, n=20)}, n=20).level == "mixed"
    assert fake({"mixed4": rights(0, n=20)}, n=20, max_accuracy_loss=0).level == "mixed"


def test_without_labels_all_disagreement_counts(fake):
    found = fake({"mixed4": rights(0, 1, 2)}, labels=None)
    assert found.level == "mixed"
    assert found.keras_accuracy is None and found.results[-1].accuracy is None


def test_float32_is_there_when_nothing_else_is_accepted(fake):
    wrong = rights(*range(40))
    found = fake({level: wrong for level in LEVELS[1:]})
    assert found.level == "float32"


def test_a_level_that_cannot_be_made_is_listed(arguments, monkeypatch):
    make = module.quantize

    def quantize(content, *, level, examples, task):
        if level == "dynamic":
            raise RuntimeError("no such operator")
        return b"broken" if level == "mixed" else make(content, level=level, examples=examples)

    monkeypatch.setattr(module, "quantize", quantize)
    found = select_level(**arguments)
    by_level = {result.level: result for result in found.results}
    assert by_level["dynamic"] == LevelResult("dynamic", reason="RuntimeError: no such operator")
    assert by_level["mixed"].reason.startswith("ValueError: `content`")
    assert not by_level["mixed"].accepted
    assert by_level["float16"].accepted and by_level["mixed4"].bytes > 0


def test_a_defect_is_not_taken_for_a_model_that_does_not_fit(arguments, monkeypatch):
    def quantize(content, *, level, examples, task):
        return content if level == "float32" else {}["defect"]

    monkeypatch.setattr(module, "quantize", quantize)
    with pytest.raises(KeyError, match="defect"):
        select_level(**arguments)


def test_lists_all_that_is_wrong(arguments):
    with pytest.raises(ValueError) as caught:
        select_level(
            **{
                **arguments,
                "logits": arguments["logits"][:5],
                "max_accuracy_loss": 5,
            }
        )
    message = str(caught.value)
    for part in (
        "`max_accuracy_loss`: a share from 0 to 1. Received: max_accuracy_loss=5",
        "`logits`: [n, num_outputs] for the n examples",
        "`labels`: one for each example, 5. Received: [40]",
    ):
        assert part in message


def test_refuses_a_float_model_or_examples_that_do_not_fit(arguments):
    with pytest.raises(ValueError, match="`content`"):
        select_level(**{**arguments, "content": b"nothing"})
    with pytest.raises(ValueError, match="`examples`.*missing"):
        select_level(**{**arguments, "calibration": {"text": arguments["inputs"]["text"]}})
