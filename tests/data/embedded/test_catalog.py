import hashlib
import re

import numpy as np
import pytest

from mmkd_tf.data.embedded import catalog
from mmkd_tf.data.embedded.catalog import (
    CLASS_NAMES,
    CLUTTER,
    CONDITION_WORDS,
    CONDITIONS,
    KIND_WORDS,
    KINDS,
    SPLITS,
    Catalog,
    CatalogConfig,
    best_accuracy,
    make_example,
    make_item,
    typos,
    write_title,
)
from mmkd_tf.data.embedded.catalog_pictures import MARKS, PRODUCTS

OTHER = CatalogConfig(
    seed=5, kind_in_image=0.7, condition_in_image=0.5, kind_in_text=0.1, condition_in_text=0.8
)


def bayes_label(*views):
    """The best answer of who has these views: what they show, and any guess for the rest."""
    kinds = [kind for kind, _ in views if kind is not None] + [KINDS[0]]
    conditions = [condition for _, condition in views if condition is not None] + [CONDITIONS[0]]
    return f"{conditions[0]} {kinds[0]}"


def test_ten_classes_known_to_pictures_and_titles():
    assert len(set(CLASS_NAMES)) == 10
    assert set(KINDS) == set(PRODUCTS) == set(KIND_WORDS)
    assert set(CONDITIONS) == set(MARKS) == set(CONDITION_WORDS)


def test_best_accuracy_by_hand():
    all_seen = CatalogConfig(
        kind_in_image=1, condition_in_image=1, kind_in_text=0, condition_in_text=0
    )
    assert best_accuracy(all_seen) == {"image": 1.0, "text": 0.1, "both": 1.0}
    # The picture misses the kind in .3 of cases and is right in a fifth of them: .7 + .06, and so
    # on. Both together miss the kind in .3 * .9 = .27 and the condition in .5 * .2 = .1 of cases.
    expected = {"image": 0.76 * 0.75, "text": 0.28 * 0.9, "both": (0.73 + 0.054) * 0.95}
    assert best_accuracy(OTHER) == pytest.approx(expected)


def test_by_default_both_are_needed():
    best = best_accuracy(CatalogConfig())

    assert best == pytest.approx({"image": 0.6, "text": 0.6, "both": 0.966}, abs=5e-4)


@pytest.mark.parametrize("config", [CatalogConfig(), OTHER])
def test_oracle_reaches_the_best_accuracy(config):
    items = [make_item(config, np.random.default_rng([config.seed, i])) for i in range(8_000)]

    reached = {
        "image": np.mean([bayes_label(item.in_image) == item.label for item in items]),
        "text": np.mean([bayes_label(item.in_text) == item.label for item in items]),
        "both": np.mean([bayes_label(item.in_image, item.in_text) == item.label for item in items]),
    }

    for name, best in best_accuracy(config).items():
        assert abs(reached[name] - best) < 4 * np.sqrt(best * (1 - best) / len(items))


def test_what_is_not_seen_says_nothing():
    # The best accuracy holds only if kinds stay equally likely where the picture hides them.
    items = [make_item(OTHER, np.random.default_rng([0, i])) for i in range(8_000)]
    hidden = [item.kind for item in items if item.in_image[0] is None]

    assert len(hidden) == pytest.approx(0.3 * 8_000, rel=0.1)
    for kind in KINDS:
        assert abs(hidden.count(kind) / len(hidden) - 0.2) < 4 * np.sqrt(0.16 / len(hidden))


def test_picture_and_title_are_given_their_views_only(monkeypatch):
    given = []
    monkeypatch.setattr(
        catalog, "write_title", lambda *view_and_rng: given.append(view_and_rng[:2])
    )
    monkeypatch.setattr(catalog, "draw_picture", lambda *arguments: given.append(arguments[:2]))

    for index in range(50):
        make_example(OTHER, index)
        item = make_item(OTHER, np.random.default_rng([OTHER.seed, index]))
        assert given[-2:] == [item.in_text, item.in_image]
        assert set(item.in_image) | set(item.in_text) <= {item.kind, item.condition, None}


def test_example_depends_on_seed_and_index_alone():
    few = make_example(CatalogConfig(num_examples=10), 7)
    many = make_example(CatalogConfig(num_examples=5_000), 7)
    other_seed = make_example(CatalogConfig(seed=1), 7)
    other_index = make_example(CatalogConfig(), 8)

    assert few["text"] == many["text"] and few["label"] == many["label"]
    assert few["image"].tobytes() == many["image"].tobytes()
    assert few["image"].tobytes() != other_seed["image"].tobytes()
    assert few["image"].tobytes() != other_index["image"].tobytes()


def test_every_index_has_one_split():
    assert sorted(index for part in SPLITS.values() for index in part) == list(range(10))


def test_prepared(tmp_path):
    builder = Catalog(config=CatalogConfig(num_examples=600), data_dir=tmp_path)
    builder.download_and_prepare()

    assert builder.info.features["label"].names == list(CLASS_NAMES)
    for figure in ("0.600 from the image", "0.600 from the text", "0.966 from both"):
        assert figure in builder.info.description
    texts = set()
    for split, size in (("train", 420), ("validation", 60), ("test", 120)):
        rows = list(builder.as_dataset(split=split, as_supervised=True).as_numpy_iterator())
        assert len(rows) == size
        assert {label for _, label in rows} == set(range(10))
        for inputs, _ in rows:
            assert inputs["image"].shape == (64, 64, 3) and inputs["image"].dtype == np.uint8
        texts |= {inputs["text"].decode() for inputs, _ in rows}
    assert texts == {make_example(builder.builder_config, i)["text"] for i in range(600)}


def test_prepared_twice_the_bytes_are_the_same(tmp_path):
    def digests(folder, **settings):
        config = CatalogConfig(num_examples=20, image_size=224, **settings)
        builder = Catalog(config=config, data_dir=tmp_path / folder)
        builder.download_and_prepare()
        records = sorted((tmp_path / folder).rglob("*.tfrecord*"))
        assert len(records) == 3
        return [hashlib.sha256(record.read_bytes()).hexdigest() for record in records]

    first = digests("first")
    assert first == digests("second")
    assert first != digests("third", seed=1)


def test_other_settings_other_folder(tmp_path):
    settings = [{}, {"num_examples": 20}, {"image_size": 32}, {"seed": 1}, {"kind_in_text": 0.5}]
    folders = {
        str(Catalog(config=CatalogConfig(**chosen), data_dir=tmp_path).data_path)
        for chosen in settings
    }

    assert len(folders) == 5


def test_all_wrong_settings_are_listed():
    with pytest.raises(ValueError, match="num_examples=9") as error:
        CatalogConfig(num_examples=9, image_size=64.0, seed=-1, kind_in_text=1.5)

    for problem in ("image_size=64.0", "seed=-1", "`kind_in_text`: a probability"):
        assert problem in str(error.value)
    assert "kind_in_image" not in str(error.value)


def spellings(phrases):
    """Every way in which a word of the phrases may be written."""
    words = {word for phrase in phrases for word in phrase.split()}
    return words.union(*map(typos, words))


KIND_SPELLINGS = {kind: spellings(phrases) for kind, phrases in KIND_WORDS.items()}
CONDITION_SPELLINGS = {told: spellings(phrases) for told, phrases in CONDITION_WORDS.items()}


def read(title, told_by):
    """What a perfect reader takes from a title."""
    words = set(title.lower().split())
    return [told for told, known in told_by.items() if words & known]


def test_typos():
    # Left out, doubled and swapped, for each letter but the first.
    assert typos("lamp") == [
        *("lmp", "laamp", "lmap"),
        *("lap", "lammp", "lapm"),
        *("lam", "lampp"),
    ]
    assert typos("mug") == []


def test_no_typo_can_be_read_as_something_else():
    groups = [*KIND_SPELLINGS.values(), *CONDITION_SPELLINGS.values()]
    groups.append({word for phrase in CLUTTER for word in phrase.split()})

    for i, group in enumerate(groups):
        for other in groups[:i]:
            assert not group & other


@pytest.mark.parametrize("kind", [None, *KIND_WORDS])
@pytest.mark.parametrize("condition", [None, *CONDITION_WORDS])
def test_title_tells_what_it_is_given_and_nothing_else(kind, condition):
    rng = np.random.default_rng(0)

    for _ in range(100):
        title = write_title(kind, condition, rng)
        assert re.fullmatch(r"\S+( \S+)*", title)
        assert read(title, KIND_SPELLINGS) == ([kind] if kind else [])
        assert read(title, CONDITION_SPELLINGS) == ([condition] if condition else [])


def test_titles_vary():
    rng = np.random.default_rng(0)
    titles = [write_title("mug", "new", rng) for _ in range(200)]

    assert len(set(titles)) > 190
    assert sum(title.isupper() for title in titles) > 20
    misspelt = set(" ".join(titles).lower().split()) & (
        KIND_SPELLINGS["mug"] - spellings(["mug", "cup"])
    )
    assert "tankard" in misspelt and len(misspelt) > 3
