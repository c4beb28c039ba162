from dataclasses import fields

import pytest

from mmkd_tf.edge import Classifier, Encoder, Regressor
from mmkd_tf.evaluate.metrics import ClassMetrics, Metrics
from mmkd_tf.evaluate.multi_label import LabelMetrics, MultiLabelMetrics
from mmkd_tf.evaluate.regression import RegressionMetrics, TargetMetrics
from mmkd_tf.evaluate.retrieval import DirectionMetrics, RetrievalMetrics
from mmkd_tf.report.by_task import WORDS, figure, likeness, purpose, task_of
from mmkd_tf.report.exports_page import exports_lines, exports_markdown
from mmkd_tf.report.model_card import chance, gain
from mmkd_tf.report.summary import summary
from mmkd_tf.tasks import HEADLINES

METRICS = {
    "single_label": (Metrics, ClassMetrics),
    "multi_label": (MultiLabelMetrics, LabelMetrics),
    "regression": (RegressionMetrics, TargetMetrics),
    "retrieval": (RetrievalMetrics, DirectionMetrics),
}

EXPORT = {
    **{"file": "a.tflite", "quantize": "float32", "bytes": 1024, "latency_ms": 0.1},
    **{"accuracy": 0.9, "keras_accuracy": 0.9, "top1_agreement": 1.0, "ladder": ()},
    **{"max_abs_logit_difference": 1e-5, "num_examples": 5, "test_accuracy": 0.8},
    **{"test_top1_agreement": 1.0, "task": "regression"},
}


@pytest.mark.parametrize("task", WORDS)
def test_columns_are_measured(task):
    whole, part = ({field.name for field in fields(kind)} for kind in METRICS[task])
    assert {key for _, key, _ in WORDS[task].columns} <= whole
    assert {key for _, key, _ in WORDS[task].output_columns} <= part
    assert WORDS[task].per_output in whole
    assert WORDS[task].columns[0][1] == HEADLINES[task]
    assert WORDS[task].reader in {each.__name__ for each in (Classifier, Encoder, Regressor)}


def test_sentences():
    assert purpose("single_label", "text", 3) == "A classifier for text into 3 classes"
    assert purpose("multi_label", "text", 3) == "A model that gives text any number of 3 labels"
    assert purpose("regression", "text", 1) == "A model that tells a number from text"
    assert likeness("single_label", 0.5) == "It names the same class as its teacher for 50.0%."
    assert figure(None, ".3f") == "-" and figure(3, "") == "3" and figure(0.25, ".1f") == "0.2"
    assert task_of({}) == "single_label"


def results(key, alone, student, gap):
    return {
        "task": "regression",
        "dataset": {"sizes": {"test": 50}},
        "student_alone": {"test": {key: alone}},
        "student": {"test": {key: student}},
        "gap_closed": gap,
    }


def test_gain_of_other_figures_than_accuracy():
    text = gain(results("r2", 0.5, 0.6, 0.25))
    assert text == "Distillation gained +0.100 of R2. 25% of the gap to the teacher was closed."
    assert "did not help: -0.100 of R2. The teacher was no" in gain(results("r2", 0.6, 0.5, None))
    assert chance(results("r2", 0.5, 0.6, 0.25)).startswith("One seed on 50 test examples")


def test_exports_of_numbers_are_not_called_accurate():
    head = exports_lines([EXPORT])[0]
    assert head.split()[4:] == ["R2", "in", "Keras", "near", "Keras", "on", "test", "difference"]
    assert (
        "| largest difference in standard deviations | near Keras |"
        in exports_markdown([EXPORT])[0]
    )


def test_the_summary_keeps_columns_apart():
    figures = {"r2": 0.946, "mean_absolute_error": 18.19, "root_mean_squared_error": 24.49}
    whole = results("r2", 0.9, 0.946, 0.5) | {
        name: {"parameters": 986_210, "test": figures}
        for name in ("teacher", "student_alone", "student")
    }
    whole |= {"exports": [EXPORT], "seconds": {"data": 1.0}, "peak_memory_mib": 10.0}
    rows = summary(whole).splitlines()[1:3]
    assert rows[1].split() == ["teacher", "986,210", "0.946", "18.19", "24.49"]
    assert len(rows[0]) == len(rows[1])
