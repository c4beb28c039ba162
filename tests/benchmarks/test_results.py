import numpy as np
import pytest
from edge_files.ours import OURS, TEXT_BRANCH
from edge_files.peers import KERAS_STATIC, ONNX_LSTM
from edge_files.results import describe_files, describe_refusals, ratios
from edge_files.rounds import Measured, ModelFile

from mmkd_tf.export.convert import convert


def seen(rounds, *, case="real lengths", outputs=None):
    """Two rounds of three calls with one thread; with two threads all takes 100 ms."""
    outputs = np.array([[0.25, 0.75]]) if outputs is None else outputs
    times = {1: {case: [np.array(r) for r in rounds]}, 2: {case: [np.full(3, 100.0)] * 2}}
    return Measured(outputs, 3.5, times)


def test_ratios_are_of_the_medians_in_a_round():
    measured = {
        OURS: seen([[1, 2, 90], [3, 3, 3]]),
        KERAS_STATIC: seen([[4, 4, 4], [0, 4, 50]]),
    }
    # 2 / 4 and 3 / 4
    assert ratios(measured) == {
        f"{OURS} / {KERAS_STATIC}": {"median": 0.625, "least": 0.5, "greatest": 0.75}
    }


def test_a_short_text_is_compared_with_a_long_one():
    branch = seen([[1, 1, 1], [2, 2, 2]], case="5 words")
    branch.times[1]["full"] = [np.array([4, 4, 4]), np.array([4, 4, 4])]
    claim = f"{TEXT_BRANCH}: 5 words / full"
    assert ratios({TEXT_BRANCH: branch})[claim]["median"] == 0.375


@pytest.fixture(scope="module")
def file(model, examples, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "a.tflite"
    path.write_bytes(convert(model, examples))
    return path


def test_sums_up_calls_and_compares_logits_or_probabilities(file):
    logits = np.log([[0.25, 0.75]])
    measured = {
        OURS: seen([[1, 2, 3], [4, 5, 6]]),
        ONNX_LSTM: seen([[1] * 3] * 2, outputs=logits + 7),
        KERAS_STATIC: seen([[1] * 3] * 2, outputs=logits + [[0, 0.1]]),
        TEXT_BRANCH: seen([[1] * 3] * 2, outputs=np.array([[0.5, 0.5]])),
    }
    files = [ModelFile(name, file, "litert") for name in (*measured, "refused")]
    found = describe_files(files, measured, logits=logits)
    assert list(found) == list(measured)
    assert found[OURS]["latency_ms"]["1"]["real lengths"] == {"median": 3.5, "p95": 5.75}
    assert found[OURS]["latency_ms"]["2"]["real lengths"] == {"median": 100.0, "p95": 100.0}
    assert found[OURS]["bytes"] == file.stat().st_size and found[OURS]["peak_memory_mib"] == 3.5
    differences = {name: about["max_abs_logit_difference"] for name, about in found.items()}
    assert differences[OURS] < 1e-12 and differences[ONNX_LSTM] < 1e-12
    # log(.25 + .75 e^.1) = 0.0759
    assert differences[KERAS_STATIC] == pytest.approx(0.0759, abs=1e-4)
    assert differences[TEXT_BRANCH] is None


def test_other_reasons_for_a_refusal_stay_as_they_are(file):
    refused = {"ours": "ValueError: too old"}
    assert describe_refusals([ModelFile("ours", file, "litert")], refused) == refused
