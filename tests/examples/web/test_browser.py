"""The page in a browser: it answers as Python does, and asks nothing of other machines."""

import json
import re
import subprocess
import threading
import wave
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mmkd_tf.edge import Classifier, Regressor, Retriever
from mmkd_tf.edge.picture import read_picture
from mmkd_tf.edge.tokenizer import Tokenizer

VECTORS = Path(__file__).parents[3] / "docs" / "tokenizer_vectors.json"
SIZE, LENGTH = 16, 6
TEXTS = ["red 茶", "Red, RED: unheard 茶杯 word3 word4 word5", "unheard-of", "word7"]

TOKENIZE = """
async ({ vocabulary, length, vectors }) => {
    const { Tokenizer } = await import("./tokenizer.js");
    const rules = await (await fetch("rules.json")).json();
    const tokenizer = new Tokenizer(rules, vocabulary);
    return vectors.map(({ text }) => ({
        words: tokenizer.words(text).slice(0, length + 1),
        ids: [...tokenizer.ids(text, length)],
    }));
}
"""
ASK_ELSEWHERE = """
new Promise((resolve) => {
    addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
    fetch("http://127.0.0.2:9/").then(
        () => resolve("sent"),
        () => setTimeout(() => resolve("tried"), 1000),
    );
})
"""


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def visit_all(chromium, driver, folder, visits):
    """Runs the browser once: what each visit to the page in a folder saw."""
    with ThreadingHTTPServer(("localhost", 0), partial(SilentHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}/"
        tasks = {"chromium": chromium, "url": url, "visits": list(visits.values())}
        (driver / "tasks.json").write_text(json.dumps(tasks))
        command = ["node", "drive.mjs", "tasks.json"]
        done = subprocess.run(command, cwd=driver, capture_output=True, text=True, timeout=300)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    results = zip(visits.items(), json.loads(done.stdout), strict=True)
    return {name: {"url": url, **visit, **result} for (name, visit), result in results}


@pytest.fixture(scope="module")
def seen(chromium, driver, page, model_files, pictures, tmp_path_factory):
    """What a person sees on several visits: one run of the browser for all tests."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "notes.png").write_text("no picture")
    (folder / "empty.png").touch()
    examples = [{}, *({"text": text} for text in TEXTS)]
    examples += [{"image": str(path)} for path in pictures]
    few = examples[1:8]
    examples += [{"image": str(path), "text": "red cup", "dropped": True} for path in pictures]
    examples += [{"image": str(path)} for path in sorted(folder.iterdir())] + [{"text": " ,.!"}]
    visits = {
        "one": {"examples": examples, "script": f"({TOKENIZE})({VECTORS.read_text()})"},
        "compat": {"without": "relaxed SIMD", "examples": few, "script": ASK_ELSEWHERE},
        "old": {"without": "WebAssembly"},
        "wordless": {"model": "wordless", "examples": few[-2:]},
        "absent": {"model": "absent"},
    }
    visits["two"] = {"model": "two", "examples": few}
    roomless = {"text": f"red {'y' * 30}"}
    visits["bytes"] = {"model": "bytes", "examples": [*few, roomless]}
    visits |= {n: {"model": n, "examples": few[::2]} for n in ("sure", "labels", "values")}
    visits["tried"] = {"examples": [{"sample": 1}, {"camera": True}, {"text": "red"}]}
    visits |= {name: {"model": name} for name in ("any", "cut", "damaged", "text")}
    for visit in visits.values():
        if "model" in visit:
            visit["model"] = str(model_files.get(visit["model"], "absent"))
    return visit_all(chromium, driver, page, visits)


def pairs(visit):
    return zip(visit["examples"], visit["answers"], strict=True)


@pytest.mark.parametrize("name", ["one", "compat", "bytes", "two", "wordless", "sure"])
def test_answers_as_python_does(seen, name, model_files):
    classifier = Classifier(model_files.get(name, model_files["one"]))
    found, wanted = [], []
    for example, answer in pairs(seen[name]):
        if not answer["figures"]:
            continue
        expected = classifier.predict(image=example.get("image"), text=example.get("text"))
        assert answer["first"] == expected.label and answer["given"] == [expected.label]
        assert answer["remark"] == classifier.remarks(expected)[0]
        assert float(re.match(r"([\d.]+) ms a call", answer["time"]).group(1)) > 0
        found.append([answer["figures"][label] for label in classifier.class_names])
        wanted.append([expected.probabilities[label] for label in classifier.class_names])
    assert len(found) == {"one": 30, "wordless": 2, "sure": 4, "bytes": 8}.get(name, 7)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)
    assert name == "wordless" or np.ptp(wanted, axis=0).max() > 0.05  # or all would be equal


def test_gives_labels_as_python_does(seen, model_files):
    classifier = Classifier(model_files["labels"])
    given = set()
    for example, answer in pairs(seen["labels"]):
        expected = classifier.predict(image=example.get("image"), text=example.get("text"))
        assert answer["figures"] == pytest.approx(expected.probabilities, abs=1e-3)
        assert tuple(answer["given"]) == expected.labels
        assert answer["first"] == (", ".join(expected.labels) or "None of the labels")
        assert answer["remark"] == classifier.remarks(expected)[0]
        given.add(expected.labels)
    assert len(given) > 1
    assert seen["labels"]["title"] == "Picture and text labels"
    assert seen["labels"]["about"].startswith("3 labels, ")


def test_estimates_numbers_as_python_does(seen, model_files):
    regressor = Regressor(model_files["values"])
    for example, answer in pairs(seen["values"]):
        expected = regressor.predict(image=example.get("image"), text=example.get("text"))
        assert list(answer["figures"]) == regressor.target_names
        assert answer["figures"] == pytest.approx(expected, abs=1e-2)
        assert answer["remark"] == "" and answer["first"].startswith(f"{next(iter(expected))}: ")
    assert seen["values"]["about"].startswith("3 numbers, ")


def test_finds_candidates_as_python_does(chromium, driver, search_page, pictures, tower_files):
    retriever = Retriever(tower_files["image"].parent)
    examples = [{"image": str(path)} for path in pictures[:4]]
    seen = visit_all(chromium, driver, search_page, {"search": {"examples": examples}})["search"]
    assert seen["title"] == "Picture search" and seen["about"].startswith("12 candidates, ")
    for example, answer in pairs(seen):
        expected = {match.item: match.score for match in retriever.find(top=12, **example)}
        found = answer["figures"]
        # The picture may differ by a level, and near ties then come in another order.
        assert found == pytest.approx({item: expected[item] for item in found}, abs=1e-2)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert answer["first"] == next(iter(found)) and len(found) == 10
        assert min(found.values()) >= sorted(expected.values())[2] - 1e-2
    assert not seen["violations"] and not seen["failure"]


def test_sounds_and_series_are_answered_as_by_python(
    chromium, driver, signal_page, signal_file, tmp_path
):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        steps = 20_000 * np.sin(np.arange(6000) ** 1.2 / 20)
        sound.writeframes(np.rint(steps).astype("<i2").tobytes())
    (tmp_path / "notes.wav").write_text("no sound")
    path = str(tmp_path / "sound.wav")
    acc = np.random.default_rng(3).normal(size=[23, 3]).round(3).tolist()
    acc[4], acc[9][1] = [None] * 3, None
    told = json.dumps(acc)
    examples = [
        {"sounds": {"recording": path}},
        {"series": {"acc": told}},
        {"sounds": {"recording": path}, "series": {"acc": told, "gyro": "1,2,3\n4,5,6"}},
        {"sounds": {"recording": str(tmp_path / "notes.wav")}, "series": {"acc": "[1, 2"}},
    ]
    seen = visit_all(chromium, driver, signal_page, {"one": {"examples": examples}})["one"]
    assert seen["title"] == "Sound and series classifier" and not seen["violations"]
    classifier = Classifier(signal_file)
    given = [
        {"recording": path},
        {"acc": acc},
        {"recording": path, "acc": acc, "gyro": [[1, 2, 3], [4, 5, 6]]},
    ]
    *answers, wrong = seen["answers"]
    for values, answer in zip(given, answers, strict=True):
        expected = classifier.predict(**values).probabilities
        assert answer["figures"] == pytest.approx(expected, abs=2e-5)
    assert answers[1]["notes"] == ["23 steps, resampled to 16."]
    assert wrong["first"] == "Give recording, acc, gyro or several." and not wrong["figures"]
    assert "is no sound" in wrong["notes"][0] and "no JSON" in wrong["notes"][1]


def test_sample_pictures_and_the_camera_are_asked_about(seen):
    sample, taken, text = seen["tried"]["answers"]
    assert sample["pixels"] and taken["pixels"] and text["pixels"] is None
    assert sample["pixels"] != taken["pixels"]
    green = np.reshape(taken["pixels"], [-1, 3]).mean(axis=0)
    assert green[1] > green[0] + 50 and green[1] > green[2] + 50
    for answer in (sample, taken):
        assert answer["figures"] and not answer["problem"] and not answer["cameraIsOpen"]


def test_sees_pictures_as_python_does(seen, pictures):
    answers = {example.get("image"): answer for example, answer in pairs(seen["one"])}
    for path in pictures:
        expected = read_picture(path, height=SIZE, width=SIZE).reshape(-1).astype(int)
        difference = np.abs(np.array(answers[str(path)]["pixels"]) - expected)
        assert difference.max() <= 2, path.name
    (black,) = [str(path) for path in pictures if path.name == "black.png"]
    assert set(answers[black]["pixels"]) == {1}  # all zeros would mean that there is no picture


def test_tokenizer_passes_the_vectors(seen):
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert len(vectors) > 100
    expected = [{"words": vector["words"], "ids": vector["ids"]} for vector in vectors]
    assert seen["one"]["script"] == expected


def test_shows_the_words_as_the_model_takes_them(seen, vocabulary):
    answer = seen["one"]["answers"][2]
    assert Tokenizer(vocabulary, LENGTH)(TEXTS[1]) == [2, 2, 1, 3, 1, 7]
    kinds = ["", "", "unknown", "", "unknown", "", "cut", "cut"]
    words = ["red", "red", "unheard", "茶", "杯", "word3", "word4", "word5"]
    assert answer["words"] == [list(pair) for pair in zip(words, kinds, strict=True)]
    assert answer["note"] == "2 words that the model does not know. Only the first 6 words count."
    assert seen["one"]["answers"][3]["note"] == "The model knows none of these words."
    (too_long,) = [a for a in seen["bytes"]["answers"] if len(a["words"]) == len(words)]
    assert too_long["words"] == answer["words"] and too_long["note"] == answer["note"]
    roomless = seen["bytes"]["answers"][-1]
    assert roomless["words"] == [["red", ""], ["y" * 30, "cut"]]
    assert roomless["note"].endswith(
        "The model lacks room for the rest: only the first 1 word counts."
    )
    assert "without its vocabulary" in seen["wordless"]["answers"][0]["note"]


def test_asks_nothing_of_other_machines(seen):
    for visit in seen.values():
        assert visit["requests"]
        assert all(url.startswith((visit["url"], "blob:", "data:")) for url in visit["requests"])
    for name in ("one", "compat", "bytes", "two", "wordless", "tried", "labels", "values"):
        assert not seen[name]["violations"]
    wasm = {Path(url).name for url in seen["compat"]["requests"] if url.endswith(".wasm")}
    assert wasm == {"litert_wasm_compat_internal.wasm"}
    assert seen["compat"]["script"] == "connect-src"  # the part of the policy that forbids it


def test_says_what_to_do(seen, model_files):
    first, *_, empty, notes, wordless = seen["one"]["answers"]
    assert seen["one"]["title"] == "Picture and text classifier"
    assert seen["one"]["failure"] == ""
    assert re.match(r"3 classes, \d+ KiB. The model runs in this", seen["one"]["about"])
    names = ", ".join(Classifier(model_files["one"]).class_names)
    assert seen["one"]["about"].endswith(f" Its classes: {names}.")
    assert seen["one"]["credits"] == "The model: Ann, Apache-2.0."
    assert first["first"] == "Give a picture, a text or both."
    assert "“empty.png” is empty" in empty["problem"]
    assert "“notes.png” is no picture" in notes["problem"]
    assert wordless["note"] == "This text has no words."
    for answer in (first, empty, notes, wordless):
        assert not answer["figures"]
    assert "no WebAssembly" in seen["old"]["failure"]
    assert "cut off, damaged" in seen["cut"]["failure"]
    assert "checksum" in seen["damaged"]["failure"]
    assert "8 bytes of something else" in seen["text"]["failure"]
    assert "could not be read (the server says 404)" in seen["absent"]["failure"]
    assert "batch_size=1" in seen["any"]["failure"]
