"""The main job on pictures and texts that belong together: as it was, and as people read it."""

import itertools
import json

import numpy as np
import pytest
from golden_cases import (
    COLOURS,
    SCRATCH,
    check_same,
    frozen_results,
    make_run,
    read_golden,
)
from PIL import Image
from typer.testing import CliRunner

from mmkd_tf.cli import app
from mmkd_tf.config import make_config
from mmkd_tf.distill.training import Recipe, train
from mmkd_tf.edge import Encoder, Index, Retriever
from mmkd_tf.run import evaluate
from mmkd_tf.runs.data import load_dataset
from mmkd_tf.runs.folder import RunFolder
from mmkd_tf.runs.roles import predict


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_repeats(folder, two_coloured):
    """Pictures several of which have the same text."""
    written = two_coloured(folder, COLOURS, repeats=3)
    lines = ["image,text", *(f"{path},{text}" for _, _, path, text in written)]
    lines += [",no picture", "pictures/0_0.png,"]
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrieval")
    said = make_run("retrieval", folder)
    return folder, said, json.loads((folder / "out" / "results.json").read_text())


@pytest.mark.slow
def test_a_run_gives_the_results_that_it_gave(finished):
    check_same(read_golden("results-retrieval.json"), frozen_results(finished[0] / "out"))


def test_leaves_two_encoders_of_each_kind_and_the_texts(finished):
    folder, said, _ = finished
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "config.yaml",
        "data.sha256",
        "examples.json",
        "history.csv",
        "manifest.json",
        "model_card.md",
        "report.html",
        "results.json",
        "student.keras",
        "student_alone.keras",
        "student_image.tflite",
        "student_image_saved_model",
        "student_image_small.tflite",
        "student_text.tflite",
        "student_text_saved_model",
        "student_text_small.tflite",
        "student_texts.npz",
        "teacher.keras",
        "test_outputs.npz",
        "vocabulary.txt",
    ]
    assert "recall at 10" in said and "batch recall at 10" in said
    card = (folder / "out" / "model_card.md").read_text()
    page = (folder / "out" / "report.html").read_text()
    assert "Direction by direction" in page and "belong together" in page
    assert "image to text" in card and "student_texts.npz" in card
    assert "Classifier" not in card


def test_results_are_of_pairs_and_believable(finished):
    _, _, results = finished
    assert results["task"] == "retrieval" and results["dataset"]["class_names"] == []
    assert any("without both image and text" in note for note in results["dataset"]["notes"])
    assert sum(results["dataset"]["sizes"].values()) == 70
    assert results["config"]["distillation"]["soft_target_loss"] == "affinity"
    for name in ("teacher", "student_alone", "student"):
        both = results[name]["test"]["per_direction"]
        assert [each["name"] for each in both] == ["image to text", "text to image"]
        assert both[0]["num_candidates"] == results["dataset"]["sizes"]["test"]
        assert results[name]["test"]["recall_at_1"] <= results[name]["test"]["recall_at_10"]
    assert results["teacher"]["parameters"] >= 20 * results["student"]["parameters"]
    measured = results["robustness"]
    assert not any(measured["absent"].values())
    assert measured["damage"]["typos"]["score"]["student"][0] == pytest.approx(
        results["student"]["test"]["recall_at_10"]
    )
    for made in results["exports"]:
        assert made["task"] == "retrieval" and made["top1_agreement"] > 0.95
    exact = [made for made in results["exports"] if made["quantize"] == "float32"]
    assert len(exact) >= 4 and all(made["max_abs_logit_difference"] < 1e-4 for made in exact)


def test_a_teacher_that_is_trained_on_finds_what_it_has_not_seen(finished):
    """Colours were seen in training, their combinations were not."""
    folder, _, results = finished
    dataset = load_dataset(make_config({}, folder / "out" / "config.yaml"))
    teacher = RunFolder(folder / "out").load_model("teacher")
    train(teacher, dataset, Recipe(epochs=10, batch_size=16))
    found = evaluate(predict("teacher", teacher, dataset), dataset)["test"]
    assert found["recall_at_1"] > max(0.5, results["teacher"]["test"]["recall_at_1"])


def test_no_item_is_in_two_splits(tmp_path, two_coloured):
    table = str(write_repeats(tmp_path, two_coloured))
    dataset = load_dataset(make_config({"data.source": table, "task": "retrieval", **SCRATCH}))
    texts = [set(dataset.splits[split].raw["text"]) for split in ("train", "validation", "test")]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 36
    assert repr(dataset).splitlines()[0].endswith("36 items")


def test_the_edge_gives_keras_embeddings_and_finds_texts(finished):
    import keras

    from mmkd_tf.models.two_tower import tower

    folder, _, _ = finished
    model = keras.saving.load_model(folder / "out" / "student.keras")
    images = Encoder(folder / "out" / "student_image.tflite")
    assert repr(images) == "Encoder(image -> 64 numbers)"
    files = [folder / "pictures" / f"{number}.png" for number in (6, 40)]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    found = images.encode(files)
    np.testing.assert_allclose(found, tower(model, "image")({"image": pixels}), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    texts = Encoder(folder / "out" / "student_text.tflite")
    index = Index()
    names = [f"{upper} over {lower}" for upper, lower in itertools.product(COLOURS, repeat=2)]
    index.add(names, texts.encode(names))
    retriever = Retriever(folder / "out")
    by_hand = index.search(found[0], top=4)
    assert retriever.find(image=files[0], candidates=names, top=4) == by_hand
    assert texts.encode([]).shape == (0, 64)


def test_blank_inputs_are_errors_in_words(finished):
    folder, _, _ = finished
    images, texts = (Encoder(folder / "out" / f"student_{k}.tflite") for k in ("image", "text"))
    with pytest.raises(ValueError, match=r"examples\[1\].*Received: nothing"):
        texts.encode(["red", " ..."])
    with pytest.raises(ValueError, match="Received: nothing"):
        images.encode([np.zeros([16, 16, 3], np.uint8)])
    with pytest.raises(ValueError, match="nothing, since this model takes image only"):
        images._session.one(image=None, text="red")
    with pytest.raises(TypeError, match="in brackets"):
        texts.encode("red")
    with pytest.raises(
        FileNotFoundError, match="student_<input>.tflite for each of two inputs.*with none"
    ):
        Retriever(folder)
    retriever = Retriever(folder / "out")
    with pytest.raises(ValueError, match="one of them.*neither"):
        retriever.find()
    with pytest.raises(ValueError, match="paths of pictures to choose from"):
        retriever.find(text="red over blue")


def test_predict_finds_texts_by_a_picture_and_pictures_by_a_text(finished, tmp_path):
    folder, _, _ = finished
    picture = folder / "pictures" / "2.png"
    result = invoke("predict", folder / "out", "--image", picture, "--json")
    scores = json.loads(result.stdout)
    assert len(scores) == 10 and list(scores.values()) == sorted(scores.values(), reverse=True)
    choice = tmp_path / "choice.txt"
    choice.write_text("red over blue\n\nyellow over black\n")
    result = invoke("predict", folder / "out", "--image", picture, "--candidates", choice)
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 2
    listed = folder / "pictures" / "listed.txt"
    listed.write_text("2.png\n33.png\n")
    result = invoke("predict", folder / "out", "--text", "red over blue", "--candidates", listed)
    assert result.exit_code == 0 and "33.png" in result.stdout
    for arguments, words in (
        ([folder / "out", "--text", "red"], "`candidates`"),
        ([folder / "out" / "student_text.tflite", "--text", "red"], "the folder that holds both"),
        ([folder / "out"], "neither"),
    ):
        result = invoke("predict", *arguments)
        assert result.exit_code == 2 and words in result.output, result.output


def test_export_makes_the_same_files_again_and_bytes(finished, tmp_path):
    folder, _, _ = finished
    result = invoke("export", folder / "out", "--output", tmp_path, "--text-input", "bytes")
    assert result.exit_code == 0, result.output
    again = (tmp_path / "student_image.tflite").read_bytes()
    assert again == (folder / "out" / "student_image.tflite").read_bytes()
    texts = ["black over yellow", "Green over RED!"]
    expected = Encoder(folder / "out" / "student_text.tflite").encode(texts)
    found = Encoder(tmp_path / "student_text.tflite").encode(texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_settings_without_effect_and_half_a_pair_are_refused(finished, tmp_path):
    folder, _, _ = finished
    table = folder / "items.csv"
    wrong = ["--set", "fusion=attention", "--set", "experts=true", "--text", "none"]
    result = invoke("run", table, "--task", "retrieval", "--output", tmp_path / "out", *wrong)
    assert result.exit_code == 2 and "`teacher.experts`: false" in result.output
    result = invoke("run", table, "--task", "retrieval", "--output", tmp_path / "out", *wrong[:4])
    assert result.exit_code == 2
    assert "`teacher.fusion`" in result.output and "`teacher.experts`" in result.output
    assert not (tmp_path / "out").exists()
