"""The page's reader of series, run by Node.js, gives what Python's gives."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mmkd_tf.edge.series import read_series, resized

SCRIPT = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const { readSeries } = await import(pathToFileURL(process.argv[1]));
const answers = JSON.parse(readFileSync(0, "utf8")).map(([text, form]) => {
  try {
    return [...readSeries(text, form).values];
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(answers));
"""
PAGE = Path(__file__).parents[3] / "examples" / "web" / "page"


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Gives a function that has series read: `[values or what is wrong]` of texts and forms."""
    if not shutil.which("node"):
        pytest.skip("no node")
    folder = tmp_path_factory.mktemp("page")
    for name in ("series.js", "model_file.js"):
        shutil.copyfile(PAGE / name, folder / name)
    (folder / "package.json").write_text('{"type": "module"}')

    def answers(cases):
        command = ["node", "--input-type=module", "-e", SCRIPT, str(folder / "series.js")]
        found = subprocess.run(
            command, input=json.dumps(cases), capture_output=True, text=True, check=True
        )
        return json.loads(found.stdout)

    return answers


def form(length, channels, names=None, time=None):
    return {"length": length, "channels": channels, "names": names, "time": time}


def test_series_become_what_python_makes_of_them(read, tmp_path):
    rng = np.random.default_rng(0)
    cases, expected = [], []
    for steps in (1, 2, 5, 16, 40, 301):
        for length in (8, 16, 64):
            values = rng.normal(size=[steps, 3])
            gaps = values.copy()
            gaps[1:-1][rng.random([max(steps - 2, 0), 3]) < 0.3] = np.nan
            gaps[1 + steps // 3 : steps // 2] = np.nan
            times = np.cumsum(rng.exponential(size=steps))
            times[1:2] = times[0] if steps > 2 else times[1:2]
            nested = [[None if np.isnan(x) else x for x in row] for row in gaps.tolist()]
            cases += [(json.dumps(each), form(length, 3)) for each in (values.tolist(), nested)]
            expected += [resized(read_series(each), length, 4) for each in (values, gaps)]
            rows = [
                ";".join("" if np.isnan(x) else repr(float(x)) for x in [time, *row])
                for time, row in zip(times, gaps, strict=True)
            ]
            path = tmp_path / "series.csv"
            path.write_text("\n".join(["t;x;y;z", *rows]))
            cases.append((path.read_text(), form(length, 2, ["z", "x"], "t")))
            series = read_series(path, channels=["z", "x"], time="t")
            expected.append(resized(series, length, 3))
    cases += [("[1, 1, 1]", form(2, 1)), ("[null, null]", form(4, 1))]
    expected += [np.ones([2, 2]), np.zeros([4, 2])]
    for (text, _), found, wanted in zip(cases, read(cases), expected, strict=True):
        np.testing.assert_allclose(found, np.ravel(wanted), rtol=0, atol=1e-6, err_msg=text[:60])


def test_what_is_wrong_with_series_is_said(read):
    wrong = [
        ("[[1, 2], [3]]", form(4, 2), "Step 1"),
        ("[[1, 2], [3, 4]]", form(4, 3), "A series of 3 numbers"),
        ("[1e39, 1]", form(4, 1), "infinite"),
        ("[[1, null], [2, null]]", form(4, 2), "Channel 1"),
        ("[1, 2", form(4, 1), "no JSON"),
        ("x,y\n1,red", form(4, 2), "“red” in this series is no number"),
        ("x,y\n1,2", form(4, 2, ["x", "z"]), "no column z among x, y"),
        ("t,x\n1,2\n0,3", form(4, 1, None, "t"), "goes back at step 1"),
        ("t,x\n1,2\n1,3", form(4, 1, None, "t"), "of one time"),
        ("t,x\n1,2\n,3", form(4, 1, None, "t"), "no time"),
    ]
    answers = read([case[:2] for case in wrong])
    for (text, _, words), answer in zip(wrong, answers, strict=True):
        assert words in answer, text
