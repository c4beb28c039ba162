"""The head of a model card, which model hubs read."""

import pytest
import yaml

from mmkd_tf.report.card import model_card


def header(results) -> dict:
    first, *lines = model_card(results).split("\n")
    end = lines.index("---")
    assert first == "---" and lines[end + 2].startswith("# Student distilled on ")
    return yaml.safe_load("\n".join(lines[:end]))


def test_it_says_what_the_student_is_for_and_how_good_it_is(fabricate_run):
    results = fabricate_run()
    head = header(results)
    assert head["pipeline_tag"] == "image-classification"
    assert head["library_name"] == "tflite"
    assert {"knowledge-distillation", "image", "text"} <= set(head["tags"])
    (index,) = head["model-index"]
    (result,) = index["results"]
    assert result["dataset"]["name"] == results["dataset"]["name"]
    first = result["metrics"][0]
    assert first["type"] == "accuracy"
    assert first["value"] == pytest.approx(results["student"]["test"]["accuracy"], abs=1e-4)


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        (None, {}),
        ("CC-BY-SA-4.0", {"license": "cc-by-sa-4.0"}),
        ("ours; ask us", {"license": "other", "license_name": "ours; ask us"}),
    ],
)
def test_the_licence_is_an_identifier_or_other(fabricate_run, licence, said):
    results = fabricate_run()
    results["config"] = {**results.get("config", {}), "export.licence": licence}
    head = header(results)
    assert {key: value for key, value in head.items() if key.startswith("license")} == said


def test_names_from_the_data_do_not_break_the_yaml(fabricate_run):
    results = fabricate_run()
    results["dataset"]["name"] = 'a: "b"\n---\n# <script>'
    (index,) = header(results)["model-index"]
    assert index["results"][0]["dataset"]["name"] == results["dataset"]["name"]
