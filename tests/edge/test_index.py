import numpy as np
import pytest

from mmkd_tf.edge.index import Index, Match


def filled(count=50, width=6):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(count, width))
    index = Index()
    index.add([f"item {i}" for i in range(count)], embeddings)
    return index, embeddings


def test_finds_the_nearest_by_cosine_whatever_the_lengths():
    index, embeddings = filled()
    query = np.random.default_rng(1).normal(size=6)
    cosines = embeddings @ query
    cosines = cosines / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(query)
    order = np.argsort(-cosines)[:7]
    found = index.search(100 * query, top=7)
    assert [match.item for match in found] == [f"item {i}" for i in order]
    np.testing.assert_allclose([match.score for match in found], cosines[order], atol=1e-5)


def test_fewer_items_give_fewer_answers_and_equals_keep_their_order():
    index = Index()
    index.add(["b", "a"], np.ones([2, 3]))
    index.add([], np.zeros([0, 3]))
    index.add(["c"], np.eye(3)[:1])
    assert index.search(np.ones(3)) == [Match("b", 1.0), Match("a", 1.0), Match("c", 0.57735)]
    assert len(index) == 3 and repr(index) == "Index(3 items)"


def test_a_saved_index_answers_alike(tmp_path):
    index, embeddings = filled()
    index.add(["größer 🍒"], embeddings[:1])
    index.save(tmp_path / "texts.npz")
    again = Index.load(tmp_path / "texts.npz")
    assert again.search(embeddings[0], top=60) == index.search(embeddings[0], top=60)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.npz"]


def test_refuses_what_does_not_fit_and_stays_as_it_was():
    index, embeddings = filled(3)
    for items, wrong, words in (
        (["x"], embeddings, "one for each item"),
        (["x"], np.ones([1, 5]), "of width 6"),
        (["x", "y"], np.array([[1.0] * 6, [0.0] * 6]), r"not all 0.*at \[1\]"),
        (["x"], np.full([1, 6], np.nan), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            index.add(items, wrong)
    with pytest.raises(TypeError, match="list of texts"):
        index.add([b"x"], np.ones([1, 6]))
    assert len(index) == 3
    with pytest.raises(ValueError, match=r"(?s)`query`: one embedding.*`top`: an int"):
        index.search(embeddings, top=0)
    with pytest.raises(ValueError, match="at least one item"):
        Index().search(np.ones(3))
    with pytest.raises(ValueError, match="`query`: finite numbers"):
        index.search(np.zeros(6))


def test_refuses_files_of_another_kind(tmp_path):
    (tmp_path / "text.npz").write_text("items")
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    np.savez(
        tmp_path / "pickled.npz", items=np.array(["a", None], object), embeddings=np.ones([2, 2])
    )
    for name in ("text.npz", "other.npz", "pickled.npz"):
        with pytest.raises(ValueError, match="that Index.save wrote"):
            Index.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Index.load(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        Index().save(tmp_path / "index.npz")
