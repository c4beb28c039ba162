import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmkd_tf.config import make_config
from mmkd_tf.report.card import model_card
from mmkd_tf.report.page import report_page
from mmkd_tf.report.summary import summary
from mmkd_tf.report.verdict import verdict
from mmkd_tf.tasks import TASKS

GOLDEN = Path(__file__).parents[1] / "golden"
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps the text and the attributes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.sections = [], [], [], {}
        self.feed(page.replace("<wbr>", ""))  # no text of its own
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if "h2" in self.open:
            self.sections[data] = ""
        elif self.sections and "style" not in self.open:
            self.sections[list(self.sections)[-1]] += data + " "

    def section(self, start):
        return next(" ".join(t.split()) for name, t in self.sections.items() if start in name)


def test_all_sections_are_there_with_their_figures(fabricate_run, examples):
    results = fabricate_run()
    page = Page(report_page(results, examples=examples))
    assert list(page.sections) == [
        "The models",
        "Size and time",
        "Learning curves",
        "Examples",
        "Class by class",
        "How sure it is",
        "What each input gives",
        "With an input absent or damaged",
        "The data",
        "How it was made",
    ]
    models = page.section("models")
    accuracy = results["student"]["test"]["accuracy"]
    between = f"{accuracy - 0.05:.3f} to {accuracy + 0.05:.3f}"
    assert f"distilled student {accuracy:.3f} {between} 0.611 0.622 0.033 3,000" in models
    assert "always naming cup 0.250 0.200 to 0.300 - - - -" in models and "87.5%" in models
    assert "what the teacher brought" in models
    assert (
        "student_small.tflite dynamic 60.0 0.123 0.110 to 0.150 0.800 0.800 0.012 99.5% 99.1% 0.790"
        in page.section("Size")
    )
    assert "can't be made: ValueError: a < b" in page.section("Size")
    assert "distilled student 2 0.750 1.000" in page.section("Learning")
    assert "all 210 30" in page.section("data")
    assert "distilled student image 0.368" in page.section("input gives")
    assert "distilled student 0.400 0.500 10" in page.section("sure")
    making = page.section("made")
    assert "saw the training examples 7 times" in making and "Seed 3" in making
    assert "together 3.5" in making and "mmkd-tf 0.1.0" in making
    assert "training.epochs 7 Passes over the training rows" in making
    assert "mmkd-tf run emoji" in making and "training.epochs=7" in making


def test_the_verdict_comes_first_and_contents_lead_to_each_section(fabricate_run, examples):
    results = fabricate_run()
    page = report_page(results, examples=examples)
    main = page[page.index("<main") :]
    sentence = verdict(results).sentence
    assert html.escape(sentence, quote=True).replace("&#x27;", "&#39;") in main
    assert main.index("verdict") < main.index("<h2")
    found = Page(page)
    ids = [value for name, value in found.attributes if name == "id" and value]
    links = [v for name, v in found.attributes if name == "href" and v.startswith("#")]
    inside = [link for link in links if "-" not in link or link[1:] in ids]
    assert {link[1:] for link in inside[:12]} <= set(ids) and len(inside) >= 11
    assert len(ids) == len(set(ids))


def test_examples_are_shown_with_what_each_model_says(fabricate_run, examples):
    page = report_page(fabricate_run(), examples=examples)
    section = Page(page).section("Examples")
    assert "Confident mistakes" in section and "wrong in 7 test examples" in section
    assert "<script>alert(1)</script> row 17 label cup teacher right cup, 75%" in section
    assert "wrong <b>pot</b> & co, 50%" in section and "no image" in section
    assert "disagree" not in section  # there are none
    assert page.count('alt="image of test example 3"') == 2


def test_a_page_that_would_be_too_large_has_fewer_examples(fabricate_run, examples, monkeypatch):
    monkeypatch.setattr("mmkd_tf.report.page.MOST_BYTES", 1)
    assert "Confident mistakes" not in report_page(fabricate_run(), examples=examples)


def test_a_table_has_a_heading_for_each_row_and_figures_to_the_right(fabricate_run):
    page = Page(report_page(fabricate_run()))
    cells = [kind for name, kind in page.attributes if name in ("scope", "class")]
    # Of the comparison: the titles, then a model with its bar and its figures.
    start = cells.index("scroll") + 1
    assert cells[start : start + 12] == ["col", *["col", "figure"] * 5, "col"]
    assert cells[start + 13 : start + 21] == ["row", "figure", "bar", *["figure"] * 5]


@pytest.mark.parametrize(("share", "width"), [(0.5, "50.0%"), (1.2, "100.0%"), (-1, "0.0%")])
def test_a_bar_stays_within_its_cell(fabricate_run, share, width):
    results = fabricate_run()
    results["teacher"]["test"]["accuracy"] = share
    for each in results["student"]["test"]["per_class"]:
        each["recall"] = 0.25
    found = re.findall(r'"bar" style="--share: (.*?)"', report_page(results))
    assert found[0] == width and found.count("25.0%") >= 3


def test_inputs_of_any_name_and_of_both_forms_are_shown(fabricate_run):
    results = fabricate_run()
    results["dataset"]["modalities"] = {
        "front_photo": "uint8 RGB, 16 x 16 pixels",
        "teacher/front_photo": "uint8 RGB, 32 x 32 pixels",
        "back": "uint8 RGB, 16 x 16 pixels",
    }
    results["dataset"]["inputs"] = {"front_photo": {"kind": "image"}, "back": {"kind": "image"}}
    results["config"] = make_config(
        {"inputs": {name: {"kind": "image"} for name in ("front_photo", "back")}}
    ).model_dump()
    page = Page(report_page(results))
    data = page.section("data")
    assert "front_photo uint8 RGB, 16 x 16" in data
    assert "teacher's front_photo uint8 RGB, 32 x 32" in data
    making = page.section("made")
    assert "They read: the teacher front_photo (uint8 RGB, 32 x 32 pixels), back" in making
    assert "inputs.back.size 64 Picture height" in making
    card = model_card(results)
    assert 'predict(front_photo="picture.png", back="picture.png")' in card
    assert card.count("A picture is stretched") == 1 and "vocabulary and" not in card


def test_results_of_earlier_runs_lack_keys_and_have_flat_settings(fabricate_run):
    results = fabricate_run()
    for key in ("robustness", "peak_memory_mib", "versions", "gap_closed"):
        del results[key]
    for key in ("test_comparison", "history", "reliability"):
        del results[key]
    del results["dataset"]["notes"], results["student"]["agreement_with_teacher"]
    results["exports"] = [{k: v for k, v in results["exports"][0].items() if k != "ladder"}]
    results["config"] = {"data": "emoji", "teacher": "fusion", "epochs": 7, "temperature": 3.5}
    results["config"] |= {"student_modalities": ["text"], "text_input": "bytes"}
    page = Page(report_page(results))
    making = page.section("made")
    assert "training examples 7 times" in making and "temperature 3.5" in making
    assert "training.epochs 7 Passes" in making and "data.source emoji" in making
    assert "names the same class" not in page.section("models")
    card = model_card(results)
    assert "Inputs: text: UTF-8 bytes, of which the file makes 4 token ids." in card
    assert 'classifier.predict(text="a few words")' in card
    assert "student.tflite" in summary(results)


def test_robustness_has_a_table_and_a_curve_for_each_damage(fabricate_run):
    page = report_page(fabricate_run())
    section = Page(page).section("absent")
    assert "teacher 0.900 0.432 0.550 student alone 0.700 - - distilled" in section
    assert "blur 0.600 0.500 0.550 -0.100 -0.050" in section
    robustness = page[page.index('id="robustness"') :]
    assert robustness.count("<svg") == robustness.count("</svg>") == 2
    label = "Accuracy under blur: teacher from 0.90 to 0.30, student alone from 0.70 to 0.30"
    assert label in page


def test_says_so_where_robustness_was_not_measured(fabricate_run):
    results = fabricate_run()
    results["robustness"] = None
    assert "Not measured" in Page(report_page(results)).section("absent")
    del results["robustness"]  # as in a run of an earlier version
    assert "Not measured" in Page(report_page(results)).section("absent")


def test_a_model_of_one_input_has_nothing_to_leave_out(fabricate_run):
    results = fabricate_run()
    results["robustness"]["absent"] = {"teacher": {}, "student_alone": {}, "student": {}}
    section = Page(report_page(results)).section("absent")
    assert "one input" in section and "without" not in section.split("Under damage")[0]


def test_nothing_of_the_data_becomes_markup(fabricate_run):
    page = report_page(fabricate_run())
    for name in ("<b>pot", "<&>", "<items>", "<it>", "<i>me", "a < b"):
        assert name not in page
        assert name.replace("&", "&amp;").replace("<", "&lt;").split(">")[0] in page
    assert not {"b", "i", "items", "it", "script"} & set(Page(page).tags)


def test_asks_for_nothing_from_elsewhere(fabricate_run, examples):
    page = report_page(fabricate_run(), examples=examples)
    found = Page(page)
    assert not {"iframe", "script", "object"} & set(found.tags)
    links = [value for name, value in found.attributes if name in ("src", "href", "xlink:href")]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert "@import" not in page
    assert all(link.startswith("#") for link in re.findall(r"url\((.*?)\)", page))


def test_the_browser_is_told_to_fetch_nothing(fabricate_run, examples):
    page = report_page(fabricate_run(), examples=examples)
    start, _, rest = page.partition('<meta http-equiv="Content-Security-Policy" content="')
    policy = rest.partition('"')[0]
    assert "<style" not in start and "src=" not in start  # it holds for all that comes after
    parts = dict(part.split(maxsplit=1) for part in policy.split("; "))
    assert parts.pop("default-src") == "'none'"
    assert parts.pop("style-src") == "'unsafe-inline'"
    assert set(parts.values()) == {"data:", "'none'"}  # no scripts, no connections, no frames
    assert not any(name.startswith("on") for name, _ in Page(page).attributes)


def test_figures_take_the_pages_colours_and_keep_their_names_apart(fabricate_run):
    page = report_page(fabricate_run())
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert all("var(--line)" in figure for figure in figures)
    assert sum("var(--accent)" in figure for figure in figures) >= len(figures) - 1
    # What is left of colours of their own would not turn with the page.
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]+", "".join(figures))
    named = [set(re.findall(r'<clipPath id="(.*?)"', figure)) for figure in figures]
    assert not set.intersection(*named)
    assert page == report_page(fabricate_run())


@pytest.mark.parametrize("size", [3, 25])
def test_many_classes_get_a_list_of_mistakes_instead_of_a_matrix(fabricate_run, size):
    names = [f"class {index}" for index in range(size)]
    page = report_page(fabricate_run(names))
    section = Page(page).section("Class")
    assert ('class="matrix"' in page) == (size == 3)
    assert ("The most frequent of 47 kinds of mistakes" in section) == (size == 25)
    if size == 25:
        assert "class called examples class 10 class 8 3 class 11 class 9 3" in section


# There are no older results of embeddings.
@pytest.mark.parametrize("task", [name for name in TASKS if name != "embedding"])
def test_older_results_of_each_task_still_give_a_page(task):
    text = (GOLDEN / f"results-{task}.json").read_text(encoding="utf-8")
    results = json.loads(text.replace('"*"', "0.5"))  # what differs from run to run is hidden
    page = Page(report_page(results))
    assert "Learning curves" not in page.sections and "The models" in page.sections
    text = report_page(results)
    assert "Not kept by the version that made these results" in text


def test_a_run_that_stopped_half_way_shows_what_there_is(fabricate_run):
    results = fabricate_run()
    kept = {key: results[key] for key in ("config", "seed", "history")} | {"unfinished": True}
    page = report_page(kept)
    assert list(Page(page).sections) == ["Learning curves", "How it was made"]
    assert "no verdict yet" in page and "--resume" in page
    assert list(Page(report_page({"config": kept["config"]})).sections) == ["How it was made"]


def test_a_class_without_test_rows_is_named(fabricate_run):
    results = fabricate_run()
    results["dataset"]["class_counts"]["test"]["pan"] = 0
    for name in ("teacher", "student_alone", "student"):
        results[name]["test"]["confusion_matrix"][2] = [0, 0, 0]
        results[name]["test"]["per_class"][2] |= {"recall": 0.0, "support": 0}
    data = Page(report_page(results)).section("data")
    assert "No test example has 1 of the 3 classes (pan)" in data
    assert "There are only 29 test examples" in data


@pytest.mark.parametrize(
    "name",
    ["\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "x" * 300, "<script>alert(1)</script>"],
)
def test_names_of_any_kind_are_shown_as_they_are(fabricate_run, name):
    results = fabricate_run((name, "pot", "pan"))
    results["dataset"]["name"] = name
    page = report_page(results)
    assert "<script" not in page and html.escape(name) in page
    assert f"<bdi>{html.escape(name)}</bdi>" in page
    Page(page)


def test_a_thousand_classes_fit(fabricate_run):
    page = report_page(fabricate_run([f"class {number}" for number in range(1000)]))
    assert len(page) < 3_000_000 and "<details><summary>All 1,000 classes" in page


def test_without_pictures_there_is_nothing_to_look_at(fabricate_run, examples):
    results = fabricate_run()
    results["dataset"]["modalities"] = {"text": "4 token ids"}
    for group in examples:
        for example in group["examples"]:
            example["inputs"].pop("image", None)
    page = report_page(results, examples=examples)
    assert "<img" not in page and "Confident mistakes" in page
