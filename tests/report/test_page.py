import re
from html.parser import HTMLParser

import pytest

from mmkd_tf.config import make_config
from mmkd_tf.report.card import model_card
from mmkd_tf.report.page import report_page
from mmkd_tf.report.summary import summary

VOID = {"meta"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps the text and the attributes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.sections = [], [], [], {}
        self.feed(page)
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


def test_all_sections_are_there_with_their_figures(fabricate_run):
    results = fabricate_run()
    page = Page(report_page(results))
    assert list(page.sections) == [
        "Did distillation help?",
        "Class by class",
        "With an input absent or damaged",
        "The files",
        "The data",
        "How it was made",
    ]
    comparison = page.section("help")
    accuracy = results["student"]["test"]["accuracy"]
    assert f"distilled student {accuracy:.3f} 0.611 0.622 0.033 3,000" in comparison
    assert "25% of the gap to the teacher was closed" in comparison
    assert "student's accuracy lies between" in comparison and "87.5%" in comparison
    assert (
        "student_small.tflite dynamic 60.0 0.123 0.800 0.800 0.012 99.5% 99.1% 0.790"
        in page.section("files")
    )
    assert "can't be made: ValueError: a < b" in page.section("files")
    assert "all 210 30" in page.section("data")
    making = page.section("made")
    assert "saw the training examples 7 times" in making and "Seed 3" in making
    assert "together 3.5" in making and "mmkd-tf 0.1.0" in making
    assert "training.epochs 7 Passes over the training rows" in making


def test_a_table_has_a_heading_for_each_row_and_figures_to_the_right(fabricate_run):
    page = Page(report_page(fabricate_run()))
    cells = [kind for name, kind in page.attributes if name in ("scope", "class")]
    # Of the comparison: the titles, then a model with its bar and its figures.
    start = cells.index("scroll") + 1
    assert cells[start : start + 10] == ["col", *["col", "figure"] * 4, "col"]
    assert cells[start + 11 : start + 18] == ["row", "figure", "bar", *["figure"] * 4]


@pytest.mark.parametrize(("share", "width"), [(0.5, "50.0%"), (1.2, "100.0%"), (-1, "0.0%")])
def test_a_bar_stays_within_its_cell(fabricate_run, share, width):
    results = fabricate_run()
    results["teacher"]["test"]["accuracy"] = share
    for each in results["student"]["test"]["per_class"]:
        each["recall"] = 0.25
    found = re.findall(r'"bar" style="--share: (.*?)"', report_page(results))
    assert found[0] == width and found[3:] == ["25.0%"] * 3


def test_inputs_of_any_name_and_of_both_forms_are_shown(fabricate_run):
    results = fabricate_run()
    results["dataset"]["modalities"] = {
        "front photo": "uint8 RGB, 16 x 16 pixels",
        "teacher/front photo": "uint8 RGB, 32 x 32 pixels",
        "back": "uint8 RGB, 16 x 16 pixels",
    }
    results["dataset"]["inputs"] = {"front photo": {"kind": "image"}, "back": {"kind": "image"}}
    results["config"] = make_config(
        {"inputs": {name: {"kind": "image"} for name in ("front photo", "back")}}
    ).model_dump()
    page = Page(report_page(results))
    data = page.section("data")
    assert "front photo uint8 RGB, 16 x 16" in data
    assert "teacher's front photo uint8 RGB, 32 x 32" in data
    making = page.section("made")
    assert "They read: the teacher front photo (uint8 RGB, 32 x 32 pixels), back" in making
    assert "inputs.back.size 64 Picture height" in making
    card = model_card(results)
    assert "predict(**{'front photo': \"picture.png\", 'back': \"picture.png\"})" in card
    assert card.count("A picture is stretched") == 1 and "vocabulary and" not in card


def test_results_of_earlier_runs_lack_keys_and_have_flat_settings(fabricate_run):
    results = fabricate_run()
    for key in ("robustness", "peak_memory_mib", "versions", "gap_closed"):
        del results[key]
    del results["dataset"]["notes"], results["student"]["agreement_with_teacher"]
    results["exports"] = [{k: v for k, v in results["exports"][0].items() if k != "ladder"}]
    results["config"] = {"data": "emoji", "teacher": "fusion", "epochs": 7, "temperature": 3.5}
    results["config"] |= {"student_modalities": ["text"], "text_input": "bytes"}
    page = Page(report_page(results))
    making = page.section("made")
    assert "training examples 7 times" in making and "temperature 3.5" in making
    assert "training.epochs 7 Passes" in making and "data.source emoji" in making
    assert "names the same class" not in page.section("help")
    card = model_card(results)
    assert "Inputs: text: UTF-8 bytes, of which the file makes 4 token ids." in card
    assert 'classifier.predict(text="a few words")' in card
    assert "student.tflite" in summary(results)


def test_robustness_has_a_table_and_a_curve_for_each_damage(fabricate_run):
    page = report_page(fabricate_run())
    section = Page(page).section("absent")
    assert "teacher 0.900 0.432 0.550 student alone 0.700 - - distilled" in section
    assert "blur 0.600 0.500 0.550 -0.100 -0.050" in section
    assert page.count("<svg") == page.count("</svg>") == 2
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


def test_asks_for_nothing_from_elsewhere(fabricate_run):
    page = report_page(fabricate_run())
    found = Page(page)
    assert not {"link", "img", "iframe", "script", "object"} & set(found.tags)
    links = [value for name, value in found.attributes if name in ("src", "href", "xlink:href")]
    assert links and all(link.startswith("#") for link in links)
    assert "@import" not in page
    assert all(link.startswith("#") for link in re.findall(r"url\((.*?)\)", page))


def test_figures_take_the_pages_colours_and_keep_their_names_apart(fabricate_run):
    page = report_page(fabricate_run())
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert all("var(--accent)" in figure for figure in figures)
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
