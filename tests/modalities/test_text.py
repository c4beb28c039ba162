import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_tf.edge.tokenizer import FOLD, SEPARATORS, SINGLES, split_words
from mmkd_tf.modalities.text import Text

# Each end of each range, and its neighbours, is where two implementations would part.
EDGES = sorted(
    {
        chr(code_point)
        for ranges in (SEPARATORS, SINGLES)
        for first, last in ranges
        for code_point in (first - 1, first, last, last + 1)
        if 0 <= code_point <= 0x10FFFF and not 0xD800 <= code_point <= 0xDFFF
    }
)
WORDS = ["<pad>", "<unk>", *sorted({w for c in [*EDGES, *map(chr, FOLD)] for w in split_words(c)})]
TEXT = Text(vocabulary=WORDS, length=12)

any_character = st.characters(exclude_categories=["Cs"])
texts = st.lists(
    st.text(
        st.one_of(any_character, st.sampled_from(EDGES), st.sampled_from(list(map(chr, FOLD))))
    ),
    min_size=1,
    max_size=20,
)


@given(texts)
@settings(deadline=None, max_examples=200)
def test_tensorflow_gives_the_ids_of_the_plain_python_tokenizer(batch):
    expected = [TEXT.tokenizer(text) for text in batch]
    np.testing.assert_array_equal(TEXT.to_tensor(batch), expected)


def test_every_code_point_alone():
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    ids = TEXT.to_tensor(characters).numpy()
    known = {word: index for index, word in enumerate(WORDS)}
    words = [split_words(character) for character in characters]
    first = [known.get(w[0], 1) if w else 0 for w in words]
    np.testing.assert_array_equal(ids[:, 0], first)
    assert not ids[:, 1:].any()
    assert max(map(len, words)) == 1


def test_bytes_that_are_no_utf8_are_separators():
    text = Text(vocabulary=["<pad>", "<unk>", "a", "b"], length=3)
    np.testing.assert_array_equal(text.to_tensor([b"a\xffb"]), [[2, 3, 0]])


def test_an_empty_batch_keeps_its_shape():
    assert Text(vocabulary=["<pad>", "<unk>"], length=5).to_tensor(np.array([], str)).shape == (
        0,
        5,
    )


def test_length_is_what_most_training_texts_need():
    def length(*texts):
        return Text.fit("title", texts, Text.Options()).length

    assert length(*["a b c"] * 99, "a") == 3
    assert length("word " * 33) == 33
    assert length("word " * 500) == 256
    assert length("", "") == 1


def test_an_lstm_reads_short_texts_unless_one_is_asked_for():
    def form(text, **options):
        fitted = Text.fit("title", [text], Text.Options(**options))
        return fitted.encoder, fitted.length

    assert form("a b c") == ("lstm", 3)
    assert form("a b c", encoder="average") == ("average", 3)
    assert form("word " * 40, encoder="lstm") == ("lstm", 32)
    assert form("word " * 40, encoder="lstm", length=40) == ("lstm", 40)
    assert form("word " * 40)[1] == 40 and form("word " * 40)[0] != "lstm"
    assert form("a b c", length=100) == ("lstm", 100)
    assert form("word " * 40, length=20) == ("lstm", 20)
    with pytest.raises(ValueError, match="`encoder`: lstm or one of convolution, average"):
        Text(vocabulary=["<pad>", "<unk>"], length=3, encoder="gru")


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("encoder", ["convolution", "average"])
def test_padding_and_what_is_behind_a_text_change_nothing(encoder, role):
    words = ["<pad>", "<unk>", *"abcdefgh"]
    short, long = (Text(vocabulary=words, length=n, encoder=encoder) for n in (4, 50))
    models = []
    for text in (short, long):
        inputs = text.input()
        models.append(keras.Model(inputs, getattr(text, f"{role}_encoder")(inputs)))
    models[1].set_weights(models[0].get_weights())
    texts = ["a b c", "h", ""]
    found, expected = models[1](long.to_tensor(texts)), models[0](short.to_tensor(texts))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape == (3, 128 if role == "teacher" else 32)
    assert np.abs(found[:2]).max() > 0 and not np.any(found[2])


def test_an_average_is_of_what_each_word_becomes():
    text = Text(vocabulary=["<pad>", "<unk>", "a", "b"], length=5, encoder="average")
    inputs = text.input()
    model = keras.Model(inputs, text.student_encoder(inputs))
    one, two, both, other_order = np.asarray(model(text.to_tensor(["a", "b", "a b b", "b a b"])))
    np.testing.assert_allclose(both, (one + 2 * two) / 3, atol=1e-6)
    np.testing.assert_allclose(other_order, both, atol=1e-6)


def test_a_convolution_knows_neighbours():
    text = Text(vocabulary=["<pad>", "<unk>", *"abcdef"], length=12, encoder="convolution")
    inputs = text.input()
    model = keras.Model(inputs, text.student_encoder(inputs))
    found = np.asarray(model(text.to_tensor(["a b", "b a"])))
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_a_students_text_keeps_its_encoder():
    text = Text(vocabulary=["<pad>", "<unk>", "a"], length=40, encoder="average")
    assert text.for_student(["a"], length=20).encoder == "average"
    assert text.with_words(["b"]).encoder == "average"


def test_augmentation_belongs_to_the_seed_and_keeps_padding():
    text = Text(vocabulary=["<pad>", "<unk>", "a"], length=50)
    batch = np.array([[2] * 40 + [0] * 10] * 4, "int32")
    seeds = np.array([[7, 1], [7, 1], [7, 2], [8, 1]], "int32")
    changed = text.augment(batch, seeds).numpy()
    np.testing.assert_array_equal(changed[0], changed[1])
    assert (changed[0] != changed[2]).any() and (changed[0] != changed[3]).any()
    assert not changed[:, 40:].any()
    assert set(np.unique(changed)) == {0, 1, 2}
    assert 0.02 < (changed[:, :40] == 1).mean() < 0.35


@pytest.mark.parametrize("vocabulary_size", [10, 50_000])
def test_student_encoder_is_20_times_smaller_at_any_vocabulary(vocabulary_size):
    import keras

    text = Text(vocabulary=["<pad>", "<unk>", *map(str, range(vocabulary_size))], length=8)
    inputs = text.input()
    teacher = keras.Model(inputs, text.teacher_encoder(inputs)).count_params()
    student = keras.Model(inputs, text.student_encoder(inputs)).count_params()
    assert teacher >= 20 * student


def test_cells_become_strings_and_their_problems_are_named():
    cells = ["a", None, float("nan"), 7, b"caf\xc3\xa9", "x" * 100_001, "half \ud800"]
    texts, problems = Text.read(iter(cells), Text.Options())
    assert texts[:5] == ["a", "", "", "7", "café"]
    assert problems == {
        5: "text: 100,001 characters, more than 100,000; shorten it",
        6: "text 'half \\ud800': not valid Unicode",
    }
    assert Text.absent(texts[:5]).tolist() == [False, True, True, False, False]


def test_the_student_may_have_fewer_words_and_a_shorter_text():
    values = ["red cup", "red lamp"]
    text = Text.fit("title", values, Text.Options(length=4))
    assert text.for_student(values) is None
    assert text.for_student(values, length=4, vocabulary_size=None) is None
    own = text.for_student(values, length=2, vocabulary_size=3)
    assert (own.name, own.length, own.vocabulary) == ("title", 2, ["<pad>", "<unk>", "red"])
    with pytest.raises(ValueError) as error:
        text.for_student(values, length=0, vocabulary_size=2.5, size=8)
    for words in ("`title.student.length`: ", "Received: 2.5", "`title.student.size`: Extra"):
        assert words in str(error.value)


def test_ids_are_written_as_a_text_that_gives_them_again():
    text = Text(vocabulary=["<pad>", "<unk>", "x", "cup"], length=4)
    ids = np.array([[2, 1, 3, 0], [0, 0, 0, 0]])
    assert text.encode(ids) == ["x xx cup", ""]
    np.testing.assert_array_equal(text.decode(text.encode(ids)), ids)


def test_without_a_vocabulary_it_describes_a_model_but_reads_no_text():
    import keras

    text = Text.of_tensor(keras.Input([7], dtype="int32", name="title"))
    assert (text.name, text.length, text.files()) == ("title", 7, {})
    assert text.describe() == "7 token ids"
    with pytest.raises(ValueError, match="`vocabulary`: .*'title'"):
        text.to_tensor(["a"])
    assert Text.of_tensor(keras.Input([7], name="speed")) is None
    assert Text.of_tensor(keras.Input([8, 8, 3], dtype="uint8")) is None
