import keras
import numpy as np
import pytest
from edge_files.ours import cases_of, count_words, random_examples


def number_of_words(text):
    """Checks that the words come first, and counts them."""
    counts = (text > 0).sum(axis=1)
    assert ((np.arange(text.shape[1]) < counts[:, None]) == (text > 0)).all()
    return counts


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    text = rng.choice([3, 5, 8], (30, 12)) * (np.arange(12) < rng.integers(0, 13, (30, 1)))
    image = np.arange(30, dtype="uint8")[:, None, None, None] + np.zeros((30, 2, 2, 3), "uint8")
    return {"image": image, "text": text.astype("int32")}


def test_texts_have_the_lengths_that_the_case_says(inputs):
    cases = cases_of(inputs, number=20, seed=1)
    assert list(cases) == ["5 words", "half", "full", "real lengths"]
    for case, num_words in {"5 words": 5, "half": 6, "full": 12}.items():
        text = cases[case]["text"]
        assert text.dtype == np.int32 and text.shape == (20, 12)
        assert set(number_of_words(text)) == {num_words}
        assert set(text[text > 0]) <= {3, 5, 8}
        np.testing.assert_array_equal(
            cases[case]["image"], cases["real lengths"]["image"], err_msg=case
        )


def test_real_examples_stay_whole_and_are_different_ones(inputs):
    real = cases_of(inputs, number=20, seed=1)["real lengths"]
    chosen = real["image"][:, 0, 0, 0]
    assert len(set(chosen)) == 20
    np.testing.assert_array_equal(real["text"], inputs["text"][chosen])


def test_few_examples_short_texts_and_no_words(inputs):
    cases = cases_of({"text": np.zeros((3, 4), "int32")}, number=20, seed=0)
    assert cases["5 words"]["text"].tolist() == [[1] * 4] * 3
    assert cases["half"]["text"].tolist() == [[1, 1, 0, 0]] * 3
    assert list(cases_of({"image": inputs["image"]}, number=2, seed=0)) == ["real lengths"]


def test_made_examples_fit_the_model(model):
    examples = random_examples(model, seed=0, number=300)
    assert examples["image"].shape == (300, 16, 16, 3) and examples["image"].dtype == np.uint8
    assert examples["text"].shape == (300, 6) and examples["text"].dtype == np.int32
    assert examples["text"].max() == 19  # the model's table has 20 rows
    assert set(number_of_words(examples["text"])) == {1, 2, 3, 4, 5, 6}
    again = random_examples(model, seed=0, number=300)
    assert all((again[name] == examples[name]).all() for name in examples)


def test_made_texts_have_up_to_ten_words():
    text = keras.Input([32], dtype="int32", name="text")
    x = keras.layers.LSTM(2)(keras.layers.Embedding(2000, 2)(text))
    examples = random_examples(keras.Model({"text": text}, x), seed=3)
    assert set(number_of_words(examples["text"])) == set(range(1, 11))


def test_texts_are_told_by_their_form_not_by_their_name(inputs):
    named = {"front": inputs["image"], "title": inputs["text"], "note": inputs["text"][:, :8]}
    cases = cases_of(named, number=9, seed=0)
    assert set(number_of_words(cases["half"]["title"])) == {6}
    assert set(number_of_words(cases["half"]["note"])) == {4}
    assert count_words(cases)["full"] == {"least": 8, "mean": 10.0, "greatest": 12}
    assert count_words({"all": {"front": inputs["image"]}}) == {}
