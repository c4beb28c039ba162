"""Builds a table of rated sentences: how positive is it, as a number and as a class?

    python studies/scenarios/sentiment.py studies/scenarios/sets

Four sources of 2013: tweets, sentences of Amazon reviews, of movie reviews and of New York Times
editorials, each rated by 20 people from -4 to 4 (Hutto and Gilbert, "VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text", 2014; MIT License; PyPI
vaderSentiment 0.5, source distribution). `sentiment` is their mean, `label` what it is when rounded
to their steps. Names of Twitter's users and the five products are masked, web addresses too.
Sentences of one review or editorial are on one side of a split; so are those that differ in signs
and case alone, or share three quarters of their words: the makers wrote such variants of tweets,
"Sad. Upset." and "SAD!!! UPSET!!!", to see what signs do.
"""

import html
import io
import re
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from common import join_groups, split_of, write

sys.path.insert(0, str(Path(__file__).parents[1] / "teachers"))
from build import PRODUCT, VADER, fetch, text_key

SOURCES = {
    "tweet": "tweets",
    "product": "amazonReviewSnippets",
    "movie": "movieReviewSnippets",
    "editorial": "nytEditorialSnippets",
}
ADDRESS = re.compile(r"https?://\S+|www\.\S+|\S+@\S+\.\w+")
USER = re.compile(r"@\w+")
ALIKE = 0.75  # of the words of two texts, those that both have


def read_sentences(content: bytes) -> pd.DataFrame:
    """Gives text, source, mean rating, class and, as group, the review or editorial."""
    with zipfile.ZipFile(io.BytesIO(content)) as outer:
        inner = outer.read("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz")
    tables = []
    with tarfile.open(fileobj=io.BytesIO(inner)) as files:
        for source, name in SOURCES.items():
            raw = files.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt").read()
            try:
                lines = raw.decode("utf-8-sig").splitlines()
            except UnicodeDecodeError:
                lines = raw.decode("cp1252", errors="replace").splitlines()
            ids, means, texts = zip(*(line.split("\t", 2) for line in lines), strict=True)
            groups = [f"{source} {each.partition('_')[0]}" for each in ids]
            columns = {"text": texts, "source": source, "sentiment": means, "group": groups}
            tables.append(pd.DataFrame(columns))
    rows = pd.concat(tables, ignore_index=True)
    means = rows.sentiment.astype(float).round(3)
    texts = [clean(text, source) for text, source in zip(rows.text, rows.source, strict=True)]
    labels = np.select([means <= -0.5, means >= 0.5], ["negative", "positive"], "neutral")
    return rows.assign(text=texts, sentiment=means, label=labels)


def clean(text: str, source: str) -> str:
    """Masks who and what is named, and ends the markup."""
    text = USER.sub("@user", ADDRESS.sub("address", html.unescape(text)))
    return " ".join((PRODUCT.sub("product", text) if source == "product" else text).split())


def alike_keys(texts: Sequence[str]) -> list[set]:
    """Gives keys that texts share whose words are the same, but for a quarter of all of theirs."""
    words = [frozenset(re.findall(r"\w+", text.casefold())) for text in texts]
    common = Counter(word for own in words for word in own)
    keys: list[set] = [{own} for own in words]
    rows_with = defaultdict(list)
    for row, own in enumerate(words):
        # Two such texts have at least one word in common that is among the rarer ones of both.
        rare = sorted(own, key=lambda word: (common[word], word))
        rare = rare[: len(own) - int(ALIKE * len(own)) + 1]
        for other in {other for word in rare for other in rows_with[word]}:
            if len(own & words[other]) >= ALIKE * len(own | words[other]):
                keys[row].add(pair := (other, row))
                keys[other].add(pair)
        for word in rare:
            rows_with[word].append(row)
    return keys


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the table of rated sentences."""
    rows = read_sentences(fetch(VADER, archives or output / "archives"))
    keys = rows.text.map(text_key)
    letters = keys.str.contains(r"[^\W\d_]")
    typer.echo(
        f"{len(rows)} sentences; {(~letters).sum()} without a letter and "
        f"{(letters & keys.duplicated()).sum()} that repeat another left out"
    )
    # The repeated ones count for what belongs together before they go.
    alike = alike_keys(rows.text)
    groups = join_groups([own | {group} for own, group in zip(alike, rows.group, strict=True)])
    # Numbers by the first row, since which one stands for a group depends on the order of keys.
    part = np.array([split_of(f"sentiment {group}") for group in pd.factorize(groups)[0]])
    kept = letters & ~keys.duplicated()
    rows, part = rows[kept], part[kept]
    write(rows.drop(columns="group"), part, output / "sentiment", label="label")
    for source, own in rows.groupby("source"):
        counts = ", ".join(f"{name} {n}" for name, n in own.label.value_counts().items())
        typer.echo(
            f"{source}: {len(own)}, sentiment {own.sentiment.mean():.2f} +- "
            f"{own.sentiment.std():.2f}; {counts}"
        )


if __name__ == "__main__":
    typer.run(main)
