from mmkd_tf.report.model_card import MODELS, model_card
from mmkd_tf.report.page import report_page
from mmkd_tf.report.robustness_page import robustness_lines
from mmkd_tf.report.summary import summary


def test_the_summary_has_a_line_for_each_model(fabricate_run):
    lines = [line.split() for line in summary(fabricate_run()).splitlines()]
    assert ["accuracy", "all", "inputs", "without", "image", "without", "text"] in lines
    assert ["teacher", "0.900", "0.432", "0.550"] in lines
    assert ["student", "alone", "0.700", "-", "-"] in lines
    assert ["distilled", "student", "0.800", "0.432", "0.550"] in lines
    said = "Mean accuracy of the distilled student under damage: blur 0.550, dropped words 0.650."
    assert said.split() in lines
    assert ["Measured", "on", "the", "29", "test", "examples."] in lines


def test_a_choice_of_the_examples_is_said_to_be_one(fabricate_run):
    results = fabricate_run()
    results["robustness"]["num_examples"] = 20
    said = "20 of the 29 test examples, chosen at random"
    for written in (summary(results), model_card(results), report_page(results)):
        assert said in written


def test_the_card_has_a_table(fabricate_run):
    card = model_card(fabricate_run())
    assert "| accuracy | all inputs | without image | without text |\n| --- | ---: |" in card
    assert "| student alone | 0.700 | - | - |" in card
    assert "under damage: blur 0.550; dropped words 0.650." in card


def test_nothing_is_said_where_it_was_not_measured(fabricate_run):
    results = fabricate_run() | {"robustness": None}
    assert robustness_lines(results, MODELS) == []
    assert "without image" not in summary(results) and "absent" not in model_card(results)
