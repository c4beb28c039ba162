import pytest

from mmkd_tf.data.options import DEFAULTS, DatasetOptions, check_fractions, named_inputs
from mmkd_tf.modalities import input_options


@pytest.mark.parametrize(
    "fractions, message",
    [
        ({"test": 0}, "`test`: a fraction above 0 .* Received: test=0"),
        ({"test": 1.0}, "Received: test=1.0"),
        ({"test": float("nan")}, "Received: test=nan"),
        ({"test": -1, "validation": 2}, "(?s)test=-1.*validation=2"),
        ({"test": 0.5, "validation": 0.5}, "`test`, `validation`: fractions that leave rows"),
    ],
)
def test_impossible_fractions_are_errors(fractions, message):
    with pytest.raises(ValueError, match=message):
        check_fractions(fractions)


def named(inputs, *, options=DEFAULTS, **columns):
    return named_inputs(inputs, **{"image": "image", "text": "text", **columns}, options=options)


def test_the_short_form_is_an_image_and_a_text():
    options = DatasetOptions(image_size=16, text_length=3, vocabulary_size=9)
    inputs = named(None, image="photo", options=options)
    assert list(inputs) == ["image", "text"]
    assert (inputs["image"].kind, inputs["image"].column, inputs["image"].size) == (
        ("image", "photo", 16)
    )
    text = inputs["text"]
    assert (text.kind, text.column, text.length, text.vocabulary_size) == ("text", "text", 3, 9)
    assert list(named(None, image=None)) == ["text"]
    with pytest.raises(ValueError, match="`image`, `text`: a column for one of them at least"):
        named(None, image=None, text=None)


def test_inputs_by_name_are_mappings_or_options():
    given = {"front": {"kind": "image"}, "note": input_options({"kind": "text", "column": "t"})}
    inputs = named(given)
    assert {name: each.column for name, each in inputs.items()} == {"front": "front", "note": "t"}
    assert given["front"] == {"kind": "image"}  # as it was


def test_all_problems_of_inputs_are_in_one_error():
    options = DatasetOptions(image_size=32, vocabulary_size=9)
    with pytest.raises(ValueError) as caught:
        named(
            {
                "a/b": {"kind": "image"},
                "front": {"kind": "image", "size": 4, "colour": "red"},
                "sound": {"kind": "sound"},
                "title": "text",
                "note": {"kind": "text", "student": {"length": 3}},
            },
            image="photo",
            text=None,
            options=options,
        )
    lines = str(caught.value).splitlines()
    for line, start, received in zip(
        lines,
        [
            "`image`: nothing beside `inputs`",
            "`text`: nothing beside `inputs`",
            "`image_size`: nothing beside `inputs`",
            "`vocabulary_size`: nothing beside `inputs`",
            "`inputs`: names of letters, digits and underscores",
            "`inputs`, 'front', size: ",
            "`inputs`, 'front', colour: ",
            "`inputs`, 'sound': options of an input with its `kind`, one of image, text",
            "`inputs`, 'title': options of an input with its `kind`",
            "`inputs`, 'note', student: nothing, since all models read the same",
        ],
        ["'photo'", "None", "32", "9", "'a/b'", "4", "'red'", "'sound'", "'text'", "3"],
        strict=True,
    ):
        assert line.startswith(start) and received in line.split("Received: ")[1]
    for inputs in ({}, ["image"]):
        with pytest.raises(ValueError, match="`inputs`: by name of an input, its options"):
            named(inputs)


def test_problems_of_the_short_form_name_its_arguments():
    options = DatasetOptions(image_size=2000, text_length=2000)
    with pytest.raises(ValueError) as caught:
        named(None, image=5, options=options)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["`image`", "`image_size`", "`text_length`"]
    assert lines[0].endswith("Received: 5.") and lines[1].endswith("Received: 2000.")
