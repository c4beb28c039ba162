"""Builds a table of questions about pictures, each with one of 13 answers.

    python studies/scenarios/easy_vqa.py studies/scenarios/sets

easy-VQA (Victor Zhou, 2019; MIT License; PyPI easy-vqa 1.0, whose wheel holds all data): 5,000
rendered pictures of one coloured shape (64 x 64 pixels) and 48,248 questions that templates made
(107 different ones), such as "is there not a circle?"; the pictures are drawn by a program, not
photographed. Its own split by picture is kept, 1,000 for test; of its training pictures 500 are for
validation. No two pictures are equal, and questions are the same in all splits, as they should be.

Of each picture's questions (8 to 11) as many are taken as wanted: three quarters of all have the
answer yes or no, and so that colours and shapes are asked for too, the kinds of answers take turns.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from common import Package, fetch, members, write

EASY_VQA = Package(
    "pip",
    "easy-vqa==1.0",
    "easy_vqa-1.0-py3-none-any.whl",
    "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
)
SHAPES = {"circle", "rectangle", "triangle"}
VALIDATION_PICTURES = 500


def kind_of(answer: str) -> str:
    """Says what kind of answer a question wants."""
    return answer if answer in ("yes", "no") else "shape" if answer in SHAPES else "color"


def take_turns(rows: pd.DataFrame, number: int, random: np.random.Generator) -> pd.DataFrame:
    """Takes some questions of each picture, of each kind one before another of the same."""
    drawn = rows.iloc[random.permutation(len(rows))]
    kinds = drawn.label.map(kind_of)
    turn = drawn.groupby([drawn.image, kinds]).cumcount()
    ordered = drawn.assign(turn=turn).sort_values("turn", kind="stable")
    taken = ordered.groupby("image").cumcount() < number
    return ordered[taken].drop(columns="turn").sort_index()


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
    questions: Annotated[int, typer.Option(help="Most of each picture.", min=1)] = 3,
):
    """Build the table of questions about pictures."""
    files = members(fetch(EASY_VQA, archives or output / "archives"))
    folder, random = output / "easy_vqa", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    tables = []
    for own in ("train", "test"):
        asked = json.loads(files[f"easy_vqa/data/{own}/questions.json"])
        table = pd.DataFrame(asked, columns=["question", "label", "picture"])
        for picture in table.picture.unique():
            content = files[f"easy_vqa/data/{own}/images/{picture}.png"]
            (folder / f"images/{own}-{picture:04d}.png").write_bytes(content)
        names = table.picture.map(lambda picture, own=own: f"images/{own}-{picture:04d}.png")
        tables.append(table.assign(image=names, part=own))
    rows = pd.concat(tables, ignore_index=True)
    pictures = rows.image[rows.part == "train"].unique()
    held = random.choice(pictures, VALIDATION_PICTURES, replace=False)
    part = rows.part.mask(rows.image.isin(held), "validation")
    rows = take_turns(rows[["image", "question", "label"]], questions, random)
    write(rows, part[rows.index], folder, label="label")
    usual = rows.groupby("question").label.agg(lambda own: own.value_counts().iloc[0]).sum()
    typer.echo(f"With each question's usual answer {usual / len(rows):.1%} would be right.")


if __name__ == "__main__":
    typer.run(main)
