"""Every notebook is run from top to bottom, and kept with the small outputs that the site shows."""

import runpy
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 250_000  # of a notebook with its pictures: they are kept in git

# What stands in the place of a notebook's parameters: less of the data, fewer steps.
QUICK = {
    "quickstart": "EVERY, EPOCHS = 20, 1",
    # What the notebook does not show is left out.
    "own_data": "ROWS, EPOCHS = 60, '1 --set quantize=dynamic --set saved_model=false "
    "--set teacher.encoders=scratch --set student.inherit=none'",
    "keras_models": "EVERY, EPOCHS, WEIGHTS = 20, 1, None",
    "unlabelled_data": "LABELLED_EVERY, STEPS = 10, 20",
    "edge": "EVERY, EPOCHS = 20, 1",
    "distillation_in_depth": "EPOCHS, SEEDS = 1, 1",
}
# Those with a few steps of large graphs, which take longer to trace than to do without.
EAGER = ("quickstart", "keras_models", "edge")

# To optimise graphs takes longer than a few steps save.
AS_WRITTEN = """
import tensorflow
tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
"""


def code_cells(path: Path) -> list:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def test_each_has_its_quick_form():
    assert {path.stem for path in NOTEBOOKS} == set(QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, eager_code):
    """As people would run it, but for its parameters."""
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    cell.source = f"{QUICK[path.stem]}\n{AS_WRITTEN}{eager_code if path.stem in EAGER else ''}"
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, resources=where, kernel_name="python3").execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_as_it_ran(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size <= MOST_BYTES


def test_all_install_alike_and_open_where_the_project_is():
    assert len({code_cells(path)[0].source for path in NOTEBOOKS}) == 1
    badges = runpy.run_path(str(FOLDER / "badges.py"))
    for path in NOTEBOOKS:
        first = nbformat.read(path, as_version=4).cells[0].source
        opened = badges["ADDRESS"].findall(first)
        assert opened == [badges["badge_address"](badges["REPOSITORY"], path.name)]


def test_badges_lead_to_the_project_once_its_address_is_known(tmp_path):
    for file in ("badges.py", "edge.ipynb"):
        shutil.copy(FOLDER / file, tmp_path)
    runpy.run_path(str(tmp_path / "badges.py"))["set_repository"]("owner/name")
    badges = runpy.run_path(str(tmp_path / "badges.py"))
    (opened,) = badges["ADDRESS"].findall((tmp_path / "edge.ipynb").read_text(encoding="utf-8"))
    assert opened == badges["badge_address"]("owner/name", "edge.ipynb")
