import numpy as np
import pytest

from mmkd_tf.data.emoji_variants import choose_split, join_variants, variant_keys

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
