import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from edge_files import worker as script
from edge_files.rounds import ModelFile, Worker, save_examples

from mmkd_tf.export.convert import convert
from mmkd_tf.export.parity import difference, keras_logits


@pytest.fixture(scope="module")
def folder(model, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    (folder / "a.tflite").write_bytes(convert(model, examples))
    some = {name: values[:5] for name, values in examples.items()}
    save_examples({"some": some, "real lengths": examples}, folder / "examples.npz")
    return folder


@pytest.fixture(scope="module")
def worker(folder):
    file = ModelFile("ours", folder / "a.tflite", "litert")
    worker = Worker(file, folder / "examples.npz", num_threads=1)
    yield worker
    worker.close()


def test_answers_as_keras_does(worker, model, examples):
    found = difference(
        logits=keras_logits(model, examples), probabilities=worker.outputs("real lengths")
    )
    assert found.max_abs_logit_difference < 1e-4
    np.testing.assert_array_equal(worker.outputs("some"), worker.outputs("real lengths")[:5])


def test_times_each_call(worker):
    times = worker.times("some", 13)
    assert times.shape == (13,) and (times > 0).all() and np.median(times) < 1000


def test_the_process_holds_nothing_but_its_runtime(worker):
    assert 0 < worker.peak_memory_mib < 100


def test_a_file_that_is_refused_says_why(folder):
    broken = folder / "broken.tflite"
    broken.write_bytes(b"not a model")
    with pytest.raises(RuntimeError, match="ValueError: .*Flatbuffer"):
        Worker(ModelFile("broken", broken, "litert"), folder / "examples.npz", num_threads=1)


def test_a_process_that_dies_says_so(folder):
    file = ModelFile("ours", folder / "a.tflite", "litert")
    with pytest.raises(RuntimeError, match="(?s)ended by itself with code 1.*FileNotFoundError"):
        Worker(file, folder / "absent.npz", num_threads=1)
    worker = Worker(file, folder / "examples.npz", num_threads=1)
    with pytest.raises(RuntimeError, match="(?s)ended by itself with code 1.*KeyError: 'nowhere'"):
        worker.times("nowhere", 1)
    with pytest.raises(RuntimeError, match="ended by itself"):
        worker.times("some", 1)
    worker.close()


def test_the_script_imports_neither_tensorflow_nor_this_package():
    code = f"import runpy, sys; runpy.run_path({script.__file__!r})\n"
    code += "print(sorted({'tensorflow', 'keras', 'mmkd_tf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_folder_is_as_large_as_its_files(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"12345")
    (tmp_path / "variables" / "a").write_bytes(b"123")
    assert ModelFile("saved", tmp_path, "tensorflow").bytes == 8


def test_calls_go_over_the_rows_in_turn():
    seen = []
    times = script.time_calls(seen.append, ["a", "b", "c"], 20)
    assert seen[:2] == ["a", "b"]  # unmeasured: a tenth
    assert seen[2:] == ["a", "b", "c"] * 6 + ["a", "b"]
    assert len(times) == 20 and min(times) >= 0


MEMORY = """
import numpy as np, worker as script
block = np.ones(30 * 2**17)  # 30 MiB
before = script.peak_memory_mib()
del block
now = script.peak_memory_mib(since_now=True)
block = np.ones(60 * 2**17)
print(before, now, script.peak_memory_mib() - now)
"""


def test_peak_memory_forgets_what_was_before():
    # In a process of its own: other threads free what tests before this one held.
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        cwd=Path(script.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    before, now, grown = map(float, done.stdout.split())
    assert now <= before
    if sys.platform == "linux":
        assert 50 < grown < 90
