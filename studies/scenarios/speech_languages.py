"""Builds tables of spoken prompts, and which language is spoken.

    python studies/scenarios/speech_languages.py studies/scenarios/sets

A row is a prompt of a telephone exchange (WAV, 16 bits, 8,000 samples a second, mono): English,
French, Italian, Russian or Spanish, from "seven" to a minute of explanations; silence and tones are
left out. The same prompt in all languages is in one split, by its name, and so are the numbers of a
kind such as digits/7 and digits/h-7.

**Voices are not disjoint.** There are six: one woman speaks English and Spanish, one man and one
woman Italian, and French and Russian have a woman each. So a model may know French by its voice;
English and Spanish it can't tell by the voice. What a voice is worth that was not heard before,
`voice.csv` tells: the prompts of test by the second Italian, who is in no other table.

Digits and letters themselves would be a smaller task than it seems: six voices say each once or
twice, in five languages.

Debian's asterisk-core-sounds-{en,es,fr,it,ru}-wav 1.6.1 and asterisk-prompt-it-menardi-wav (apt-get
download, 117 MB). English and Spanish: Allison Smith, French: June Wallack, CC BY-SA 3.0; Italian:
Carlo Flora, Russian: Maxim Topal, CC BY 3.0; second Italian: Marco Menardi and Paola Dal Zot,
http://www.voip.ammdomus.it, CC BY-SA 3.0.
"""

import re
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from common import Package, fetch, members, say_counts, split_of, write

SHA256 = {
    "en": "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
    "es": "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
    "fr": "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
    "it": "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
    "ru": "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
}
NAMES = {"en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "ru": "Russian"}
PACKAGES = {
    code: Package(
        "apt",
        f"asterisk-core-sounds-{code}-wav=1.6.1-1",
        f"asterisk-core-sounds-{code}-wav_1.6.1-1_all.deb",
        sha256,
    )
    for code, sha256 in SHA256.items()
}
SECOND_ITALIAN = Package(
    "apt",
    "asterisk-prompt-it-menardi-wav=1:1.4.22+mm20110907-3.1",
    "asterisk-prompt-it-menardi-wav_1%3a1.4.22+mm20110907-3.1_all.deb",
    "3094530d98f8758ac275572d59624c41f60969fef883f34f4886d144f3dfeb21",
)
# Silence, tones, monkeys.
NO_SPEECH = re.compile(r"silence/|beep|tone$|tt-monkeys$|^confbridge-(join|leave)$")
SHORTEST = 0.25  # seconds
BYTES_PER_SECOND = 16_000


def read_prompts(package: Package, archives: Path) -> dict[str, bytes]:
    """Gives the spoken prompts of a package by name, such as digits/7."""
    prompts = {}
    for path, content in sorted(members(fetch(package, archives)).items()):
        match = re.fullmatch(r"usr/share/asterisk/sounds/[^/]+/(.+)\.wav", path)
        if match and not NO_SPEECH.search(match[1]):
            if len(content) >= SHORTEST * BYTES_PER_SECOND:
                prompts[match[1]] = content
    return prompts


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the tables of spoken prompts and their languages."""
    folder, rows = output / "speech_languages", []
    for code, package in {**PACKAGES, "it2": SECOND_ITALIAN}.items():
        for name, content in read_prompts(package, archives or output / "archives").items():
            file = f"sounds/{code}-{name.replace('/', '-')}.wav"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
            # digits/h-7 is seventh, vm-opts-full what vm-opts says and more.
            group = re.sub(r"digits/h-|-full$|-162$|-extended$|\d+$", "", name) or name
            part = split_of(f"digits/{name}" if group == "digits/" else group)
            rows.append({"audio": file, "label": NAMES[code[:2]], "part": part, "voice": code})
    rows = pd.DataFrame(rows)
    known = rows[rows.voice != "it2"].drop(columns="voice")
    write(known.drop(columns="part"), known.part, folder, label="label")
    unheard = rows[(rows.voice == "it2") & (rows.part == "test")][["audio", "label"]]
    unheard.to_csv(folder / "voice.csv", index=False)
    say_counts(f"{folder.name}/voice.csv", unheard.label)


if __name__ == "__main__":
    typer.run(main)
