import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmkd_tf.data.embedded.emoji import (
    CLASS_WORDS,
    DRAWN_WRONG,
    GROUPS,
    Emoji,
    choose_split,
    clean_name,
    join_variants,
    read_examples,
    variant_keys,
)

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def examples():
    return {example.key: example for example in read_examples()}


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    builder = Emoji(data_dir=tmp_path_factory.mktemp("emoji"))
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def prepared(builder):
    return {
        split: list(builder.as_dataset(split=split, as_supervised=True).as_numpy_iterator())
        for split in SPLITS
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Chile Flag", "chile"),
        ("INPUT SYMBOL FOR SYMBOLS", "input for"),
        ("PERSON: RED HAIR", "red hair"),
        ("PLACE OF WORSHIP", "of worship"),
        ("KISS: WOMAN, MAN", "kiss: woman, man"),
    ],
)
def test_clean_name(name, text):
    assert clean_name(name) == text


def test_sizes_and_labels(builder, prepared):
    sizes = {split: len(rows) for split, rows in prepared.items()}
    assert sizes == {split: builder.info.splits[split].num_examples for split in SPLITS}
    total = sum(sizes.values())
    assert total > 1_800
    # Variants move together, so the shares are only about 70, 10 and 20 %.
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert abs(sizes[split] / total - share) < 0.05
    assert builder.info.features["label"].names == list(GROUPS)
    for rows in prepared.values():
        assert {label for _, label in rows} == set(range(9))


def test_values(prepared):
    for rows in prepared.values():
        for inputs, _ in rows:
            assert inputs["image"].shape == (64, 64, 3)
            assert inputs["image"].dtype == np.uint8
            assert (inputs["image"][[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()  # White corners.
            assert inputs["image"].min() < 200  # Something is drawn.
            assert inputs["text"].decode()


def test_no_text_names_its_class(prepared):
    for rows in prepared.values():
        for inputs, _ in rows:
            words = set(re.findall(r"\w+", inputs["text"].decode().lower()))
            assert not words & CLASS_WORDS, inputs["text"]


def test_no_picture_lies_in_two_splits(prepared):
    pictures = {
        split: {inputs["image"].tobytes() for inputs, _ in rows} for split, rows in prepared.items()
    }

    assert not pictures["train"] & pictures["test"]
    assert not pictures["train"] & pictures["validation"]
    assert not pictures["validation"] & pictures["test"]


def test_variants_lie_in_one_split(examples):
    def splits(pattern, of="key"):
        chosen = [e for e in examples.values() if re.fullmatch(pattern, getattr(e, of))]
        assert len(chosen) > 1
        return {choose_split(example.variants) for example in chosen}

    roles = {key.split("-200D-", 1)[1] for key in examples if key.startswith("1F469-200D-")}
    shared = [role for role in roles if f"1F468-200D-{role}" in examples]
    assert len(shared) > 30
    for role in shared:
        assert len(splits(f"(1F468|1F469|1F9D1)-200D-{role}")) == 1, role
    bases = [key.split("-200D-")[0] for key in examples if key.endswith("-200D-2640-FE0F")]
    assert len(bases) > 30
    for base in bases:
        assert len(splits(f"{base}(-200D-.*)?")) == 1, base
    for words in ("family.*", "clock face.*", "(green|blue|brown) heart", "keycap.*", ".* circle"):
        assert len(splits(words, of="text")) == 1, words


def test_sequences_are_drawn_as_one_picture(examples):
    japan, chile = examples["1F1EF-1F1F5"].image, examples["1F1E8-1F1F1"].image

    def is_red(pixel):
        red, green, blue = pixel.astype(int)
        return red > 180 and green < 80 and blue < 80

    assert is_red(japan[32, 32]) and (japan[32, 16] == 255).all()
    assert is_red(chile[40, 32]) and (chile[24, 48] == 255).all()
    woman, astronaut = examples["1F469"].image, examples["1F469-200D-1F680"].image
    assert (woman != astronaut).any()


def test_what_the_font_draws_wrong_is_left_out(examples):
    assert len(DRAWN_WRONG) == 3
    assert not DRAWN_WRONG & set(examples)


def test_no_skin_tones(examples):
    assert not [key for key in examples if re.search("1F3F[B-F]", key)]


DIGEST = """
import hashlib
from mmkd_tf.data.embedded.emoji import read_examples

digest = hashlib.sha256()
for example in read_examples():
    digest.update(f"{example.key} {example.text} {example.label} {example.variants}".encode())
    digest.update(example.image.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_makes_the_same(examples, hash_seed):
    paths = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }

    output = subprocess.run(
        [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
    ).stdout

    expected = hashlib.sha256()
    for example in examples.values():
        expected.update(f"{example.key} {example.text} {example.label} {example.variants}".encode())
        expected.update(example.image.tobytes())
    assert output.split()[-1] == expected.hexdigest()


def test_credit(builder):
    assert "OpenMoji" in builder.info.description
    assert "CC BY-SA 4.0" in builder.info.description
    assert "openmoji" in builder.info.citation
    assert builder.info.homepage == "https://openmoji.org"


PICTURE = np.zeros((2, 2, 3), np.uint8)


def keys(unified, name, picture=PICTURE):
    """The keys without the one of the picture."""
    return {key for key in variant_keys(unified, name, picture) if not key.startswith("picture ")}


@pytest.mark.parametrize(
    ("unified", "name", "expected"),
    [
        ("1F469-200D-1F680", "WOMAN ASTRONAUT", {"base adult+1F680", "name astronaut"}),
        ("1F469-200D-1F9B0", "WOMAN: RED HAIR", {"base adult"}),
        ("1F468-200D-1F466", "FAMILY: MAN, BOY", {"base family", "name family"}),
        ("1F46E-200D-2640-FE0F", "WOMAN POLICE OFFICER", {"base 1F46E", "name officer police"}),
        ("2642-FE0F", "MALE SIGN", {"base 2642", "name sign"}),
        ("1F535", "LARGE BLUE CIRCLE", {"base 1F535", "name circle"}),
        ("0037-FE0F-20E3", "KEYCAP 7", {"base 0037", "name keycap"}),
        ("1F1F0-1F1F5", "North Korea Flag", {"base 1F1F0-1F1F5"}),
        ("1F934", "PRINCE", {"base 1F934", "name prince", "other 0"}),
    ],
)
def test_keys_are_base_name_and_table(unified, name, expected):
    assert keys(unified, name) == expected


def test_same_picture_is_a_common_key():
    norway = variant_keys("1F1F3-1F1F4", "Norway Flag", PICTURE)
    svalbard = variant_keys("1F1F8-1F1EF", "Svalbard Flag", PICTURE)
    sweden = variant_keys("1F1F8-1F1EA", "Sweden Flag", PICTURE + 1)

    assert norway & svalbard
    assert not norway & sweden


def test_groups_are_joined_through_others():
    groups = join_variants({"a": {"1"}, "b": {"2"}, "c": {"3"}, "d": {"1", "2"}, "e": {"4"}})

    assert groups == {"a": "d", "b": "d", "c": "c", "d": "d", "e": "e"}


def test_split_is_the_same_on_every_machine():
    # The first letters of the alphabet, computed once.
    assert [choose_split(letter) for letter in "abcde"] == [
        "train",
        "validation",
        "test",
        "test",
        "train",
    ]


def test_splits_have_their_shares():
    chosen = [choose_split(str(number)) for number in range(10_000)]

    # Four standard deviations of a share of .7 in 10,000 are .018.
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert abs(chosen.count(split) / 10_000 - share) < 0.018
