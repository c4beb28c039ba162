"""Every notebook is run from top to bottom, and kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, few_examples):
    """As people would run it, but for one epoch on 64 training examples instead of 1,313."""
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    given = "EPOCHS, BATCH_SIZE = 8, 32"
    (cell,) = [cell for cell in notebook.cells if given in cell.source]
    cell.source = cell.source.replace(given, "EPOCHS, BATCH_SIZE = 1, 32")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(few_examples))
    client = NotebookClient(
        notebook,
        timeout=900,
        resources={"metadata": {"path": str(tmp_path)}},
        kernel_name="python3",
    )
    client.execute()
    (tmp_path / "executed.ipynb").write_text(nbformat.writes(notebook))
