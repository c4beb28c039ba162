import sys

import numpy as np
import pytest
from edge_files import peers
from edge_files.peers import (
    KERAS_DYNAMIC,
    KERAS_STATIC,
    ONNX_KERAS,
    ONNX_LSTM,
    SAVED_MODEL,
    export_peers,
)
from edge_files.rounds import Worker, save_examples


@pytest.mark.slow
def test_all_that_run_give_keras_logits(model, examples, tmp_path):
    for package in ("onnx", "onnxruntime", "tf2onnx"):
        pytest.importorskip(package, reason=f"pip install {package}")
    inputs = {name: values[2:12] for name, values in examples.items()}  # texts filled on the right
    files, absent = export_peers(model, inputs, tmp_path)
    assert absent == {}
    assert [file.name for file in files] == [
        KERAS_STATIC,
        KERAS_DYNAMIC,
        ONNX_LSTM,
        ONNX_KERAS,
        SAVED_MODEL,
    ]
    save_examples({"all": inputs}, tmp_path / "examples.npz")
    expected = np.asarray(model(inputs))
    for file in files:
        if file.name == KERAS_DYNAMIC:
            with pytest.raises(RuntimeError, match="Select TensorFlow op"):
                Worker(file, tmp_path / "examples.npz", num_threads=1)
            continue
        worker = Worker(file, tmp_path / "examples.npz", num_threads=1)
        try:
            np.testing.assert_allclose(
                worker.outputs("all"), expected, atol=1e-4, err_msg=file.name
            )
        finally:
            worker.close()


class Model:
    """Stands for a model whose exports fail, but that to SavedModel."""

    inputs = ()
    input = {}

    def export(self, path, format, input_signature, verbose):
        assert input_signature == [{}] and verbose is False
        if format != "tf_saved_model":
            raise NotImplementedError(f"no {format}")
        path.mkdir()


def test_a_missing_package_is_named_with_what_gets_it(monkeypatch, tmp_path):
    for package in ("onnxruntime", "tf2onnx"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(peers, "_ONNX_PACKAGES", ("numpy", "onnxruntime", "tf2onnx"))
    _, absent = export_peers(Model(), {}, tmp_path)
    for name in (ONNX_LSTM, ONNX_KERAS):
        assert absent[name] == "not installed; get it with: pip install onnxruntime tf2onnx"


def test_an_export_that_fails_is_no_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "_ONNX_PACKAGES", ())
    files, absent = export_peers(Model(), {}, tmp_path)
    assert [file.name for file in files] == [SAVED_MODEL]
    assert absent[KERAS_STATIC] == "its export failed: NotImplementedError: no litert"
    assert absent[ONNX_KERAS] == "its export failed: NotImplementedError: no onnx"
    assert set(absent) == {KERAS_STATIC, KERAS_DYNAMIC, ONNX_LSTM, ONNX_KERAS}
