"""Builds a table of dialogues: which question was it that two strangers began with?

    python studies/scenarios/dialogue.py studies/scenarios/sets

Of the 7,168 conversations of the BYU Chit-Chat dataset (Myers, Etchart and Fulda, "Conversational
Scaffolding", 2020; MIT License; PyPI chitchat-dataset) those are taken in which two people took six
turns or more and whose question is known; not those that hold an e-mail address or a long number.
The question was shown to both; where somebody repeats it word by word, that message is left out.
Of each dialogue the first 600 words are kept; half of them have no more than 440.

`dialogue` has the turns in order, each begun by `A:` or `B:`; `first` and `second` have what the
one said and what the other. All dialogues of the same two people are on one side of a split, but
one person talks with many: who writes in test may write in training too, to others.
"""

import json
import re
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from common import Package, fetch, members, split_of, write

CHITCHAT = Package(
    "pip",
    "chitchat-dataset==0.9.0",
    "chitchat_dataset-0.9.0-py3-none-any.whl",
    "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
)
FEWEST_TURNS = 6
MOST_WORDS = 600  # of a dialogue; the longest has 22,947
# An e-mail address, or digits that may be a telephone number.
PRIVATE = re.compile(r"\S@\w+\.\w|\d[\d\s().-]{6,}\d")

# What a question begins with, and the name of its class.
QUESTIONS = {
    "What's the most interesting thing": "learned recently",
    "If money were no object": "time without money",
    "What superpower": "superpower wished",
    "What's one thing your best friend": "friend does not know",
    "If you were in power": "in power for a day",
    "Who is your modern-day hero": "hero",
    "What's the last film": "film",
    "Is there something that you don't know": "embarrassed not to know",
    "What's your favorite smell": "smell",
    "What if the world was made of": "peanut butter",
    "If you could relive": "relive a day",
    "What's the best thing": "best of this year",
    "Which intelligent movie computer": "movie computer",
    "Mozart or": "Mozart or Beethoven",
    "What's your secret superpower": "really good at",
    "What charitable": "charity",
    "Do you think computers will": "computers vote",
    "Can computers fall": "computers in love",
    "What's the craziest": "craziest thing",
    "If you had to give a TED": "TED talk",
    "If a computer becomes": "turn off a person",
    "What would you do if you had a flying car": "flying car",
    "What if unicorns": "unicorns",
    "What would you do if you had a million": "million dollars",
    "What if computers started": "computers ask",
    "Is it still catfishing": "catfishing",
    "What would happen if the internet": "no internet",
    "What if pigs": "pigs fly",
    "What would happen if two computers": "two computers chat",
    "What if you woke": "everyone vanished",
    "What would you do if you had a magic": "magic wand",
    "How would you define": "true intelligence",
    "What would happen if humans": "faster than light",
    "How would the world be different": "pets talk",
}


def class_of(question: str) -> str | None:
    """Gives the class of a question; a few dialogues have an empty one."""
    return next((name for start, name in QUESTIONS.items() if question.startswith(start)), None)


def words_of(text: str) -> str:
    """Gives a text's words alone, to compare."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def read_dialogues(content: bytes) -> pd.DataFrame:
    """Gives the dialogues with their class and, as group, the two people."""
    rows = []
    data = json.loads(members(content)["chitchat_dataset/dataset.json"])
    for name, dialogue in data.items():
        question = dialogue.get("prompt") or ""
        turns, left = [], MOST_WORDS
        for messages in dialogue["messages"]:
            said = [m["text"] for m in messages if words_of(question) not in words_of(m["text"])]
            if words := " ".join(said).split()[:left]:
                turns.append((messages[0]["sender"], " ".join(words)))
                left -= len(words)
        people = list(dict.fromkeys(sender for sender, _ in turns))
        if class_of(question) is None or len(people) != 2 or len(turns) < FEWEST_TURNS:
            continue
        parts = [" ".join(text for sender, text in turns if sender == one) for one in people]
        letters = dict(zip(people, "AB", strict=True))
        rows.append(
            {
                "id": name,
                "dialogue": "\n".join(f"{letters[sender]}: {text}" for sender, text in turns),
                "first": parts[0],
                "second": parts[1],
                "label": class_of(question),
                "group": " ".join(sorted(people)),
            }
        )
    return pd.DataFrame(rows)


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the table of dialogues."""
    rows = read_dialogues(fetch(CHITCHAT, archives or output / "archives"))
    private = rows.dialogue.str.contains(PRIVATE)
    repeated = rows.dialogue.map(words_of).duplicated()
    rows = rows[~private & ~repeated]
    typer.echo(
        f"{len(rows)} dialogues of {rows.group.nunique()} pairs of people kept; {private.sum()} "
        f"with what may be an address or a number and {repeated.sum()} repeated ones left out"
    )
    write(rows.drop(columns="group"), rows.group.map(split_of), output / "dialogue", label="label")


if __name__ == "__main__":
    typer.run(main)
