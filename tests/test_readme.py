"""What the README and the documentation show is run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


# Of pages with the same code the first.
SHOWN = {code: page for page in reversed(PAGES) if (code := "\n".join(blocks(page, "python")))}


@pytest.mark.slow
@pytest.mark.parametrize("page", SHOWN.values(), ids=lambda p: p.stem)
def test_python_blocks_run(page, tmp_path, few_examples, eager_code):
    """As people would run them, but on 64 training examples instead of 1,313.

    Many trainings are made without graphs; the first of them is in the README too, with one.
    """
    code = "\n".join(blocks(page, "python"))
    code = re.sub(r"steps_per_epoch=(\d+)", lambda found: _fewer_steps(int(found[1])), code)
    prelude = few_examples + (eager_code if code.count(".fit(") > 2 else "")
    code = prelude + code
    # What a page about exported files takes as given.
    shutil.copy(ROOT / "saved_models/emoji/student_small.tflite", tmp_path / "student.tflite")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]


def _fewer_steps(steps):
    assert steps == -(-1313 // 32)  # of all examples, in batches of 32
    return f"steps_per_epoch={64 // 32}"


def test_commands_exist():
    from typer.testing import CliRunner

    from mmkd_tf.cli import app

    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    commands = set(re.findall(r"^mmkd-tf (\w+)", text, re.MULTILINE))
    assert {"run", "predict", "export", "study"} <= commands
    for command in commands:
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0, command


def test_settings_exist():
    from mmkd_tf.config import make_config
    from mmkd_tf.settings.names import parse_settings

    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    commands = re.findall(r"^(mmkd-tf .*)$|`(mmkd-tf [^`]*)`|`(--set [^`]*)`", text, re.MULTILINE)
    given = [shlex.split("".join(command), comments=True) for command in commands]
    given = [[b for a, b in pairwise(words) if a == "--set"] for words in given]
    assert any(given)
    for pairs in given:
        make_config(parse_settings(pairs))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
