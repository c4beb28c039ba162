import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkd_tf.modalities.cell_files import READ_AT_ONCE
from mmkd_tf.modalities.picture_files import read_pictures


def picture(value):
    return Image.new("RGB", (8, 8), (value, value, value))


def encoded(value):
    stream = io.BytesIO()
    picture(value).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    picture(7).save(home / "images" / "a.png")
    picture(8).save(tmp_path / "outside.png")
    (home / "link.png").symlink_to(tmp_path / "outside.png")
    return home


def test_every_kind_of_cell(folder):
    cells = ["images/a.png", Path("images/a.png"), " images/../images/a.png ", encoded(9)]
    cells += [{"bytes": encoded(9), "path": None}, {"bytes": None, "path": "images/a.png"}]
    cells += [picture(10), np.full((4, 4), 11), "", "  ", None, float("nan")]
    pixels, problems = read_pictures(iter(cells), size=8, folder=folder)
    assert problems == {}
    assert pixels.dtype == np.uint8
    values = [7, 7, 7, 9, 9, 7, 10, 11, 0, 0, 0, 0]
    np.testing.assert_array_equal(
        pixels, np.ones((12, 8, 8, 3)) * np.reshape(values, (12, 1, 1, 1))
    )


def test_order_is_kept_over_parts():
    values = [1 + number % 255 for number in range(READ_AT_ONCE + 10)]
    pixels, _ = read_pictures((np.full((8, 8), value) for value in values), size=8)
    np.testing.assert_array_equal(pixels[:, 3, 3, 1], values)


def test_no_cells():
    assert read_pictures([], size=8)[0].shape == (0, 8, 8, 3)


@pytest.mark.parametrize(
    "cell", ["../outside.png", "{folder}/../outside.png", "link.png", "images/../../outside.png"]
)
def test_paths_that_leave_the_folder(folder, cell):
    cell = cell.format(folder=folder)
    pixels, problems = read_pictures([cell], size=8, folder=folder)
    assert problems[0].startswith(f"picture '{cell[:70]}")
    assert f": it leads out of the folder '{folder}'; move it there or set allow" in problems[0]
    assert not pixels.any()
    pixels, problems = read_pictures([cell], size=8, folder=folder, allow_outside=True)
    assert problems == {}
    assert (pixels == 8).all()


def test_absolute_paths_inside_the_folder_are_fine(folder):
    pixels, problems = read_pictures([str(folder / "images" / "a.png")], size=8, folder=folder)
    assert problems == {} and (pixels == 7).all()


@pytest.mark.parametrize(
    "cell, problem",
    [
        ("nowhere.png", "picture 'nowhere.png': there is no such file in '"),
        ("images", "picture 'images': it is not a file"),
        ("https://x.org/a.png", "picture 'https://x.org/a.png': it is an address, not a file"),
        ("x" * 300, "picture '" + "x" * 77 + "...': "),
        ("a\0b", r"picture 'a\x00b': "),
        (b"", "picture: it is empty (0 bytes)"),
        (encoded(1)[:-30], "picture: it is damaged or cut off"),
        ([1, "a"], "picture: neither a path nor a picture but a list"),
        (True, "picture: neither a path nor a picture but a bool"),
    ],
)
def test_problems_name_the_picture(folder, cell, problem):
    _, problems = read_pictures([None, cell], size=8, folder=folder)
    assert list(problems) == [1]
    assert problems[1].startswith(problem)


def test_what_is_wrong_with_all_paths_is_said_once(folder):
    _, problems = read_pictures(["a.png", "b.png"], size=8, folder=folder)
    assert "so it is with all 2" in problems[0] and "'a.png' lies in 'images' there" in problems[0]
    assert "so it is" not in problems[1]
    _, problems = read_pictures(["z.png", "b.png"], size=8, folder=folder)
    assert "no 'z.png' lies below it" in problems[0]
    _, problems = read_pictures(["images/a.png", "b.png"], size=8, folder=folder)
    assert list(problems) == [1] and "so it is" not in problems[1]


def test_backslashes_are_noticed(folder):
    _, problems = read_pictures([r"images\a.png", "images/a.png"], size=8, folder=folder)
    assert r"with / in place of \ it is there" in problems[0]
