import io

import numpy as np
import pytest
from PIL import Image

from mmkd_tf.report.figures import damage_figure, study_figure
from mmkd_tf.report.page_figures import label_places


def test_each_seed_is_a_pair_of_points_joined_by_a_line(fabricate):
    results = fabricate(datasets=("emoji", "catalog"), recipes=("soft", "hard"))
    figure = study_figure(results)
    assert [axes.get_title() for axes in figure.axes] == [
        "emoji, validation",
        "catalog, validation",
    ]
    models = results["datasets"]["catalog"]["splits"]["validation"]["models"]
    axes = figure.axes[1]
    alone, distilled = axes.collections[2:4]
    np.testing.assert_allclose(alone.get_offsets()[:, 1], models["student_alone"]["accuracy"])
    np.testing.assert_allclose(distilled.get_offsets()[:, 1], models["recipe-hard"]["accuracy"])
    assert alone.get_offsets()[0, 0] < 1 < distilled.get_offsets()[0, 0]
    drawn = [line.get_ydata() for line in axes.lines]
    for pair in zip(
        models["student_alone"]["accuracy"], models["recipe-hard"]["accuracy"], strict=True
    ):
        assert any(np.array_equal(line, pair) for line in drawn)
    assert any(np.allclose(line, models["teacher"]["mean"]["accuracy"]) for line in drawn)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["soft", "hard"]


def test_the_legend_names_each_mark_once(fabricate):
    figure = study_figure(fabricate(recipes=("a", "b", "c"), splits=("validation", "test")))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "teacher, mean",
        "student alone",
        "distilled",
        "mean over seeds",
    ]


def test_students_of_missing_seeds_are_paired_by_seed(fabricate):
    results = fabricate(seeds=3)
    dataset = results["datasets"]["emoji"]
    dataset["models"]["recipe-default"]["seeds"] = [0, 2]
    models = dataset["splits"]["validation"]["models"]
    del models["recipe-default"]["accuracy"][1]
    alone = study_figure(results).axes[0].collections[0].get_offsets()[:, 1]
    expected = np.array(models["student_alone"]["accuracy"])[[0, 2]]
    np.testing.assert_allclose(alone, expected)


def test_a_recipe_that_failed_everywhere_leaves_its_place_empty(fabricate):
    results = fabricate(recipes=("a", "b"))
    del results["datasets"]["emoji"]["splits"]["validation"]["models"]["recipe-a"]
    axes = study_figure(results).axes[0]
    assert len(axes.collections) == 2 and axes.get_xlim() == (-0.5, 1.5)


@pytest.mark.parametrize("splits", [("validation",), ("validation", "test")])
def test_is_drawn_in_greys_and_fits(fabricate, splits):
    names = ("default", "divergence-t2", "decoupled", "with-hints")
    results = fabricate(datasets=("emoji", "catalog", "openclipart"), recipes=names, splits=splits)
    file = io.BytesIO()
    study_figure(results).savefig(file, dpi=80)
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert (np.ptp(pixels, axis=2) == 0).all()
    # Nothing is cut off at the rim.
    assert (pixels[0] == 255).all() and (pixels[-1] == 255).all()
    assert (pixels[:, 0] == 255).all() and (pixels[:, -1] == 255).all()


def test_damage_is_drawn_from_clean_to_strong_on_the_scale_of_all_panels(fabricate_run):
    found = fabricate_run()["robustness"]["damage"]["blur"]
    axes = damage_figure(found, score="accuracy", absent=0.25, top=0.9).axes[0]
    assert axes.get_ylim() == (0, pytest.approx(0.95))
    assert [label.get_text() for label in axes.get_xticklabels()] == found["levels"]
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
    for name, curve in found["score"].items():
        np.testing.assert_allclose(drawn[name], curve)
    assert any(np.allclose(line, 0.25) for line in drawn.values())
    styles = [
        (line.get_linestyle(), line.get_marker(), line.get_linewidth()) for line in axes.lines
    ]
    assert len(set(styles)) == 4  # told apart without colours
    assert damage_figure(found, score="accuracy", absent=None, top=1.0).axes[0].get_ylim() == (0, 1)


def test_labels_cover_neither_each_other_nor_marks_and_lines():
    named = [((0.3 + 0.02 * i, 0.5), f"student_number_{i}.tflite") for i in range(6)]
    named += [((0.95, 0.5), "teacher"), ((0.02, 0.99), "first")]
    taken = [(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for (x, y), _ in named]
    taken += [(0, 0.68, 1, 0.72)]  # a line all across
    found = label_places(named, taken)
    assert sorted(label for _, label, _ in found) == sorted(label for _, label in named)
    boxes = [(x, y - 0.04, x + 0.0175 * len(label), y + 0.04) for _, label, (x, y) in found]
    boxes += taken
    for i, one in enumerate(boxes[: len(named)]):
        assert one[0] >= 0 and one[2] <= 1 and one[1] >= -0.01 and one[3] <= 1.01
        for other in boxes[i + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0]
            assert apart or one[3] <= other[1] + 1e-9 or other[3] <= one[1] + 1e-9
    alone = label_places([((0.2, 0.4), "one")], [])
    assert alone[0][2] == pytest.approx((0.235, 0.4))  # beside its mark where there is room
