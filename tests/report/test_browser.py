"""The page of a run in a browser: each figure is that of results.json, however it is looked at."""

import json
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from mmkd_tf.modalities.picture_files import thumbnail
from mmkd_tf.report.page import report_page
from mmkd_tf.report.verdict import verdict

TESTS = Path(__file__).parents[1]
MODELS = {
    "teacher": "teacher",
    "student_alone": "student alone",
    "student": "distilled student",
}
VIEWS = [
    {"width": 1400, "scheme": "light"},
    {"width": 1400, "scheme": "dark"},
    {"width": 390, "scheme": "light"},
    {"width": 390, "scheme": "dark"},
    {"width": 800, "scheme": "light", "media": "print"},
]

# The browser and its driver, where the page for browsers has them too.
sys.path.append(str(TESTS.parent / "examples" / "web"))
_spec = spec_from_file_location("browser_fixtures", TESTS / "examples" / "web" / "conftest.py")
_fixtures = module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
chromium, driver = _fixtures.chromium, _fixtures.driver


@pytest.fixture(scope="module")
def results(fabricate_run, fabricate_examples):
    """Results as they come back from the file, and examples with pictures."""
    examples = fabricate_examples()
    for group in examples:
        for example in group["examples"]:
            if example["inputs"]["image"]["form"] == "picture":
                example["inputs"]["image"]["data"] = thumbnail(np.full([8, 8, 3], 90, np.uint8))
    return json.loads(json.dumps(fabricate_run())), examples


@pytest.fixture(scope="module")
def seen(chromium, driver, results, tmp_path_factory):
    """What is to be read in each view: one run of the browser for all tests."""
    folder, (made, examples) = tmp_path_factory.mktemp("page"), results
    (folder / "report.html").write_text(report_page(made, examples=examples), encoding="utf-8")
    url = (folder / "report.html").as_uri()
    shutil.copyfile(Path(__file__).with_name("read.mjs"), driver / "read.mjs")
    tasks = {"chromium": chromium, "visits": [{"url": url, **view} for view in VIEWS]}
    (driver / "pages.json").write_text(json.dumps(tasks))
    command = ["node", "read.mjs", "pages.json"]
    done = subprocess.run(command, cwd=driver, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return url, json.loads(done.stdout)


def expected(results):
    """By table the rows of its figures, written from `results` by hand."""
    compared, test = results["test_comparison"], {n: results[n]["test"] for n in MODELS}
    keys = ("macro_recall", "macro_f1", "expected_calibration_error")

    def ends(interval, form=".3f", scale=1):
        return " to ".join(format(scale * end, form) for end in interval)

    models = [
        [
            *(title, f"{test[name]['accuracy']:.3f}", ends(compared["intervals"][name])),
            *(f"{test[name][key]:.3f}" for key in keys),
            f"{results[name]['parameters']:,}",
        ]
        for name, title in MODELS.items()
    ]
    naive = compared["naive"]
    models.append([naive["words"], f"{naive['score']:.3f}", ends(compared["intervals"]["naive"])])
    models[-1] += ["-"] * 4
    order = ("teaching", "gap", "to_teacher", "over_naive")
    brought = [
        [f"{100 * found['difference']:+.1f} points", ends(found["interval"], "+.1f", 100)]
        for found in map(compared["differences"].get, order)
    ]
    files = [
        [
            *(made["file"], made["quantize"], f"{made['bytes'] / 1024:,.1f}"),
            *(f"{made['latency_ms']:.3f}", ends(made["latency_spread_ms"])),
            *(f"{made['accuracy']:.3f}", f"{made['keras_accuracy']:.3f}"),
            f"{made['max_abs_logit_difference']:.2g}",
            *(f"{made[key]:.1%}" for key in ("top1_agreement", "test_top1_agreement")),
            f"{made['test_accuracy']:.3f}",
        ]
        for made in results["exports"]
    ]
    robustness = results["robustness"]
    absent = [
        [title, f"{robustness['clean'][name]:.3f}"]
        + [
            f"{robustness['absent'][name][i]:.3f}" if robustness["absent"][name] else "-"
            for i in ("image", "text")
        ]
        for name, title in MODELS.items()
    ]
    damage = [
        [kind.replace("_", " ")]
        + [f"{found['relative'][name]:.3f}" for name in MODELS]
        + [f"{found['effective'][name]:+.3f}" for name in ("teacher", "student")]
        for kind, found in robustness["damage"].items()
    ]
    lost = [
        [title, name, f"{robustness['clean'][model] - score:.3f}"]
        for model, title in MODELS.items()
        for name, score in robustness["absent"][model].items()
    ]
    classes = [
        [one["name"], *(f"{one[key]:.3f}" for key in ("precision", "recall", "f1"))]
        + [f"{one['support']:,}"]
        for one in test["student"]["per_class"]
    ]
    matrix = [
        [name, *(str(count or "") for count in row)]
        for name, row in zip(
            results["dataset"]["class_names"], test["student"]["confusion_matrix"], strict=True
        )
    ]
    sure = [
        [MODELS[name], f"{each['confidence']:.3f}", f"{each['right']:.3f}", str(each["count"])]
        for name, bins in results["reliability"].items()
        for each in bins
    ]
    epochs = [
        [MODELS[n], "2", f"{of['val_accuracy'][-1]:.3f}", f"{of['val_loss'][-1]:.3f}"]
        for n, of in results["history"].items()
    ]
    sizes, counts = results["dataset"]["sizes"], results["dataset"]["class_counts"]
    examples = [["all", *(f"{size:,}" for size in sizes.values())]]
    for name in results["dataset"]["class_names"]:
        examples.append([name, *(f"{counts[split][name]:,}" for split in sizes)])
    seconds = [[name.replace("_", " "), f"{s:,.1f}"] for name, s in results["seconds"].items()]
    seconds.append(["together", f"{sum(results['seconds'].values()):,.1f}"])
    first, second = results["exports"][1]["ladder"]
    level = [
        *(first["level"], f"{first['bytes'] / 1024:,.1f}", "1.00", f"{first['accuracy']:.3f}"),
        *(f"{first['top1_agreement']:.1%}", f"{first['max_abs_logit_difference']:.2g}", "taken"),
    ]
    made_of = results["dataset"]["modalities"]
    return {
        "The models on test": models,
        "What brought what": brought,
        "The files": files,
        "Levels tried for student_small.tflite": [
            level,
            [second["level"], *[""] * 5, f"can't be made: {second['reason']}"],
        ],
        "Epochs in figures": epochs,
        "All 3 classes": classes,
        "Labels by row, answers by column": matrix,
        "How sure and how right": sure,
        "What each input gives": lost,
        "Without an input": absent,
        "Damage in one figure each": damage,
        "The inputs": [list(item) for item in made_of.items()],
        "Examples of each of the 3": examples,
        "Seconds": seconds,
        "Software": [list(item) for item in results["versions"].items()],
    }


@pytest.mark.parametrize(
    "view", range(len(VIEWS)), ids=[f"{v['width']}-{v['scheme']}" for v in VIEWS]
)
def test_every_figure_is_that_of_the_results(seen, results, view):
    found, (made, _) = seen[1][view], results
    assert found["verdict"] == verdict(made).sentence
    test = {name: made[name]["test"]["accuracy"] for name in ("student", "teacher")}
    assert found["tiles"] == [
        *(f"{test['student']:.1%}", f"{test['teacher']:.1%}", "25.0%"),
        *("30 x", f"{made['exports'][1]['bytes'] / 1024:.0f} KiB"),
    ]
    tables = {table["label"]: table["rows"][1:] for table in found["tables"]}
    settings = tables.pop("All settings")
    assert ["training.epochs", "7"] in [row[:2] for row in settings]
    brought = tables["What brought what"]
    tables["What brought what"] = [row[1:] for row in brought]
    assert tables == expected(made)


@pytest.mark.parametrize("view", range(len(VIEWS)))
def test_the_page_fits_and_asks_for_nothing(seen, view):
    url, views = seen
    found = views[view]
    assert found["wider"] == 0 and found["unnamed"] == 0
    assert found["violations"] == []
    assert [request for request in found["requests"] if not request.startswith("data:")] == [url]
    assert found["pictures"] and all(alt and loaded for alt, loaded in found["pictures"])
