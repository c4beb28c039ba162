"""The main job with rows without labels, by its command."""

import json

import pytest
from typer.testing import CliRunner

from mmkd_tf import run as run_module
from mmkd_tf.cli import app
from mmkd_tf.data import unlabelled as unlabelled_module
from mmkd_tf.runs import training as run_training

SMALL = ["--epochs", "1", "--set", "image_size=16", "--set", "batch_size=16", "--skip-bad-rows"]
SMALL += ["--set", "teacher.encoders=scratch", "--set", "student.inherit=none"]
SMALL += ["--set", "robustness=false", "--set", "quantize=float16", "--set", "saved_model=false"]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory, eager_training):
    """A run that was interrupted before its exports, with what it had at the student's training."""
    folder = tmp_path_factory.mktemp("unlabelled")
    rows = table.read_text().splitlines()
    # Two labels are empty; of the texts, two repeat rows that may be held out.
    table = table.with_name("some.csv")
    without = [row.rpartition(",")[0] + "," for row in rows[5:7]]
    table.write_text("\n".join([*rows[:5], *without, *rows[7:]]) + "\n")
    texts = [f"a new {colour} thing" for colour in ("red", "blue")] * 4
    (folder / "more.txt").write_text("\n".join([*texts, "A RED thing 1.", "a blue thing 3"]) + "\n")
    command = ["run", table, "--unlabelled", folder / "more.txt", "--output", folder / "out"]
    command += [*SMALL, "--set", "unlabelled_rows=true", "--set", "transfer_share=0.25"]
    shown, distill = {}, run_training.distill

    def watched(**given):
        shown.update(given)
        return distill(**given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_training, "distill", watched)
        patch.setattr(run_module, "export_all", interrupted)
        first = invoke(*command)
    assert first.exit_code == 130, first.output or first.exception
    result = invoke("run", "--output", folder / "out", "--resume")
    assert result.exit_code == 0, result.output or result.exception
    return folder / "out", result.output, shown


def test_the_student_is_given_them_and_the_results_say_so(finished):
    out, output, shown = finished
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    found = results["transfer"]
    left_out = found[unlabelled_module.REPEATS]
    assert found["rows"] == {"unlabelled": 10 - left_out, "unlabelled_rows": 2}
    assert found["share"] == shown["transfer_share"] == 0.25
    assert 0 <= found["sure"] <= len(shown["transfer"]) == sum(found["rows"].values())
    assert "transfer" not in shown["dataset"].splits
    assert sum(results["dataset"]["sizes"].values()) == 38
    sentence = f"{12 - left_out} rows without labels too"
    card = (out / "model_card.md").read_text(encoding="utf-8")
    assert sentence in card and sentence in " ".join(output.split())
    assert sentence in (out / "report.html").read_text(encoding="utf-8")


def test_mistakes_are_found_before_any_training(table, tmp_path):
    command = ["run", table, "--output", tmp_path / "out", *SMALL]
    result = invoke(*command, "--unlabelled", tmp_path / "more.csv")
    assert result.exit_code == 2 and "`--unlabelled`" in result.output
    assert "no such file" in result.output and not (tmp_path / "out").exists()
    (tmp_path / "more.txt").write_text("a red thing\n")
    result = invoke(
        *command, "--unlabelled", tmp_path / "more.txt", "--set", "student.inputs=[image]"
    )
    assert result.exit_code == 2
    assert "rows with an input that the student reads, image" in " ".join(result.output.split())
    result = invoke(*command, "--set", "recombined_rows=1")
    assert "unless the one teacher is pretrained" in " ".join(result.output.split())
