import io
import sys

import numpy as np
import pytest

from mmkd_tf.edge import points
from mmkd_tf.edge.points import PointsError, PointsReader, read_points, spread

CORNERS = "".join(f"v {x} {y} {z}\n" for x in (0, 2) for y in (0, 2) for z in (0, 2))
OBJ = (  # quads, with textures and normals and without, counted from the end too
    "# a cube\nmtllib none.mtl\no one\n" + CORNERS + "f 1 2 4 3\nf 5/1 6/1 8/1 7/1\nf 1//2 2//2 "
    "6//2 5//2\no two\nf -6 -5 -1 -2\nf -8 -6 -2 -4\nf -7 -5 -1 -3\n"
).encode()
PLY = b"""ply
format ascii 1.0
element vertex 3
property float x
property float y
property float z
end_header
0 0 0
2 0 0
0 2 0
"""
ROWS = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0]])


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read(source, **options):
    return read_points(source, **{"num_points": 3, "normalize": False, **options})


@pytest.mark.parametrize(
    "content",
    [
        PLY,
        npy(ROWS),
        npy(ROWS.astype("float16")),
        b"0 0 0\n2 0 0\n0 2 0",
        b"# points\n\n0,0,0\r\n2, 0, 0\r\n0;2;0\r\n",
        b"\xef\xbb\xbfx\ty\tz\n0\t0\t0\n2\t0\t0\n0\t2\t0\n",
        b"3\n0 0 0\n2 0 0\n0 2 0\n",
        b"v 0 0 0\nv 2 0 0\nv 0 2 0\n",
        b"OFF\n3 0 0\n0 0 0\n2 0 0\n0 2 0\n",
    ],
)
def test_a_point_cloud_is_read_in_any_form(content, tmp_path):
    np.testing.assert_array_equal(read(content), ROWS)
    path = tmp_path / "cloud.any"  # what it holds counts, not what it is called
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), ROWS)
    np.testing.assert_array_equal(read(str(path)), ROWS)


@pytest.mark.parametrize("array", [ROWS, ROWS.tolist(), np.array([*ROWS, None], object)[:3]])
def test_arrays_are_taken(array):
    rows = read(array)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, ROWS)


def test_a_mesh_is_sampled_by_area_the_same_each_time():
    rows = read(OBJ, num_points=6000)
    np.testing.assert_array_equal(rows, read(OBJ, num_points=6000))
    on_sides = np.isclose(rows[:, None], [[[0, 0, 0]], [[2, 2, 2]]][0]) | np.isclose(
        rows[:, None], 2
    )
    assert on_sides.any((1, 2)).all()
    for axis in range(3):
        for side in (0, 2):  # a sixth of 6,000, four standard deviations of it to either side
            assert 880 < np.isclose(rows[:, axis], side).sum() < 1120
    off = b"OFF\n6 2 0\n0 0 0\n1 0 0\n0 1 0\n9 0 0\n12 0 0\n9 1 0\n3 0 1 2\n3 3 4 5\n"
    share = np.mean(read(off, num_points=2000)[:, 0] > 5)
    assert share == pytest.approx(0.75, abs=0.04)


def test_of_faces_without_area_the_corners_are_taken():
    rows = read(b"v 0 0 0\nv 2 0 0\nv 4 0 0\nf 1 2 3\n")
    assert sorted(rows[:, 0]) == [0, 2, 4]


def test_a_cloud_is_moved_and_scaled_to_the_unit_sphere():
    rows = read([[0, 0, 0], [6, 0, 0], [0, 8, 0]], normalize=True)
    np.testing.assert_allclose(rows, [[-0.6, -0.8, 0], [0.6, -0.8, 0], [-0.6, 0.8, 0]], atol=1e-7)
    far = np.array([[0, 0, 0], [6, 0, 0], [0, 8, 0]]) / 100 + [5e5, 5e6, 0]
    np.testing.assert_allclose(read(far, normalize=True), rows, atol=1e-6)
    with_level = np.concatenate([far, [[7], [8], [9]]], axis=1)
    found = read(with_level, normalize=True, features=1)
    np.testing.assert_array_equal(found[:, 3], [7, 8, 9])


def test_points_are_spread_over_their_order():
    np.testing.assert_array_equal(spread(5, 5), np.arange(5))
    np.testing.assert_array_equal(spread(2, 5), [0, 0, 0, 1, 1])
    chosen = spread(65_536, 512)
    assert (np.diff(chosen) > 0).all() and chosen.max() < 65_536
    rings = np.bincount(chosen % 64, minlength=64)  # of a lidar that gives its rings in turn
    assert rings.min() >= 4 and rings.max() <= 12


def test_a_cloud_at_the_origin_is_present_and_an_array_of_zeros_absent():
    assert read(b"0 0 0").tolist() == [[np.float32(1e-6), 0, 0], [0, 0, 0], [0, 0, 0]]
    assert not read(np.zeros([9, 3]), normalize=True).any()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "it is empty"),
        (b"# none\n\n", "it has no points"),
        (np.zeros([0, 3]), "it has no points"),
        (PLY.replace(b"vertex 3", b"vertex 0")[:-18], "it has no points"),
        (b"1 2 3", "all its points lie in one place"),
        (np.ones([50, 3]), "all its points lie in one place"),
        (b"1 2 3\nnan 0 0\n0 inf 0", "2 of 3 points have numbers that are not finite"),
        (OBJ.replace(b"v 0 0 2", b"v 0 nan 2"), "points have numbers that are not finite"),
        ([[1e13, 0, 0], [0, 0, 0]], "1 of 2 points have numbers that .* above 1e.12"),
        (b"1 2\n3 4", "2 columns, not x, y, z and 0 features; write these"),
        (b"1 2 3 4\n5 6 7 8", "4 columns, .* set `features: 1`, or write these"),
        ([1.0, 2.0, 3.0], r"float64 of shape \[3\]"),
        (npy(np.zeros([2, 2, 3])), r"float64 of shape \[2, 2, 3\]"),
        (npy(ROWS)[:-5], "or damaged"),
        (npy(np.array([{}])), "or damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "it is none of OBJ, PLY, OFF, NPY or text"),
        (b"three words here\nand here\n", "it is none of"),
        (CORNERS.encode() + b"f 1 2 99\n", "or damaged"),
        (PLY.replace(b"ascii 1.0", b"binary_little_endian 1.0"), "or damaged"),
        ("nowhere.obj", "there is no such file"),
        (".", "it is not a file"),
    ],
)
def test_what_is_no_cloud_is_refused(source, reason):
    with pytest.raises(PointsError, match=reason):
        read(source, normalize=True)


@pytest.mark.parametrize(
    "source",
    [{}, None, [["a", "b", "c"]], [[1, 2, 3], [4, 5]], object(), np.ones([5, 3]) * 1j],
)
def test_other_types_are_refused(source):
    reader = PointsReader("cloud", (3, 3), np.dtype("float32"), {}, {})
    with pytest.raises((TypeError, ValueError), match="`cloud`: a point cloud or mesh .* Received"):
        reader(source)


def test_huge_files_are_refused_and_trimesh_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "a.xyz"
    path.write_bytes(b"1 2 3\n" * 100)
    monkeypatch.setattr(points, "MAX_BYTES", 599)
    with pytest.raises(PointsError, match="enormous, more than 599 bytes"):
        read(path)
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(PointsError, match=r"pip install 'mmkd-tf\[meshes\]'"):
        read(OBJ)
    assert read(b"1 2 3").any()


def test_the_reader_goes_by_what_the_file_says():
    with pytest.raises(ValueError, match="float32"):
        PointsReader("cloud", (3, 2), np.dtype("float32"), {}, {})
    as_they_are = PointsReader("cloud", (3, 3), np.dtype("float32"), {"normalize": False}, {})
    np.testing.assert_array_equal(as_they_are(ROWS), ROWS)
    scaled = PointsReader("cloud", (3, 3), np.dtype("float32"), {"normalize": True}, {})
    assert np.abs(scaled(ROWS)).max() < 1
    with pytest.raises(ValueError, match="`cloud`: .*Received: 'no.obj': there is no such file"):
        scaled("no.obj")
