"""The benchmark of backbones, as people run it: it sets the threads of a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmkd_tf.backbones import BACKBONES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "features.py"
NUMBER = r"(\d+\.\d+)"


def invoke(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_each_backbone_has_its_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path))  # what is installed alone
    done = invoke("--texts", "8", "--pictures", "1")
    assert done.returncode == 0, done.stderr
    for name, backbone in BACKBONES.items():
        line = f"{name}: loads in {NUMBER} s, {NUMBER} ms a {backbone.kind}"
        line += f", {NUMBER} of a bare loop's rate"
        if not backbone.is_here():
            line = f"{name}: not here, mmkd-tf backbones get {name}"
        assert re.search(f"^{line}$", done.stdout, re.MULTILINE), (name, done.stdout)
    # The package's own code for the same weights gives the same features.
    (difference,) = re.findall(r"features differ by (\S+) at most", done.stdout)
    assert float(difference) < 1e-4


def test_refuses_numbers_that_measure_nothing():
    done = invoke("--texts", "0")
    assert done.returncode == 2 and "--texts" in done.stderr
