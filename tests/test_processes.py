import os
import time
import warnings
from dataclasses import dataclass

import pytest

from mmkd_tf import processes
from mmkd_tf.processes import available_memory, default_jobs, num_processors, run_groups

_NOTES = ("few rows", "of 0", "of 1")


@dataclass(frozen=True)
class Killed:
    """Unpickled in the worker, where it ends the process as a lack of memory does."""

    name: str

    def __str__(self):
        return self.name

    def __reduce__(self):
        return os._exit, (9,)


def test_jobs_are_as_many_as_processors_memory_and_units_allow(monkeypatch):
    monkeypatch.setattr(processes, "num_processors", lambda: 8)
    monkeypatch.setattr(processes, "available_memory", lambda: 5 * 2**30)
    assert default_jobs(20) == 3  # of 1.5 GiB each
    assert default_jobs(2) == 2
    monkeypatch.setattr(processes, "available_memory", lambda: 2**20)
    assert default_jobs(20) == 1
    monkeypatch.setattr(processes, "available_memory", lambda: 2**40)
    assert default_jobs(20) == 8


def test_the_machine_is_measured():
    assert 1 <= num_processors() <= os.cpu_count()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 2**20 < available_memory() <= total


@pytest.mark.slow
def test_a_process_that_is_killed_is_said_and_the_next_unit_has_its_turn():
    said = []
    failed = run_groups([[Killed("a")], [Killed("b")]], print, jobs=1, say=said.append)
    assert list(failed) == ["a", "b"]
    assert all("was killed" in reason and "--jobs" in reason for reason in failed.values())
    assert len(said) == 2


def test_at_most_so_many_at_once_and_what_went_wrong_comes_back(monkeypatch):
    running, most = [], []

    def run_apart(unit, work):
        running.append(unit)
        most.append(len(running))
        time.sleep(0.05)
        running.remove(unit)
        return "no teacher" if unit == 3 else None, ["few rows", f"of {unit % 2}"]

    monkeypatch.setattr(processes, "_run_apart", run_apart)
    said = []
    groups = [[0], [1], [2, 3], [4], [5]]
    assert run_groups(groups, print, jobs=2, say=said.append) == {"3": "no teacher"}
    assert max(most) == 2
    assert sorted(said) == ["3 failed: no teacher", *(f"Note: {n}" for n in _NOTES)]


def test_warnings_of_the_work_come_back_as_text():
    def work(unit):
        for _ in range(2):
            warnings.warn(f"{unit}: few\n  rows", stacklevel=1)
        raise ValueError("no teacher")

    assert processes._try(work, "a") == ("no teacher", ["a: few rows"])
