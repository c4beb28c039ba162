"""Runs work in parallel processes, as many as the machine can hold.

Nothing is imported at the top that imports TensorFlow: a new process sets it up first.
"""

import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mmkd_tf.progress import steps
from mmkd_tf.quiet import quiet_tensorflow

# What a process took at its peak that trained the default models on the embedded data.
BYTES_PER_JOB = 3 * 2**29


def default_jobs(num_units: int) -> int:
    """Number of units to work on at once: one a processor, where their memory suffices."""
    return max(1, min(num_processors(), available_memory() // BYTES_PER_JOB, num_units))


def num_processors() -> int:
    """Number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes of memory that are free or can be freed; half of all where only that is known."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def run_groups(
    groups: Sequence[Sequence],
    work: Callable[[Any], None],
    *,
    jobs: int,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Works on units; one that fails does not keep the others from being worked on.

    Args:
        groups: Units, anything that can go to another process and has a name as text; those of a
            group are taken one after the other.
        work: What to do with a unit, a function of a module.
        jobs: How many groups at once.
        say: Told about each failure, as it is in what is returned: by unit, the reason; and once
            about each warning of the work.
    """
    failed, noted = {}, set[str]()
    before = multiprocessing.active_children()
    told = steps("groups of models that share a teacher", len(groups))
    with ThreadPoolExecutor(jobs) as executor, told as advance:
        futures = [executor.submit(_run_group, group, work) for group in groups]
        try:
            for future in as_completed(futures):
                problems, notes = future.result()
                for note in dict.fromkeys(notes):
                    if note not in noted:
                        say(f"Note: {note}")
                noted |= set(notes)
                for unit, problem in problems.items():
                    failed[unit] = problem
                    say(f"{unit} failed: {problem}")
                advance(1)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                if process not in before:
                    process.terminate()
            raise
    return failed


def _run_group(units: Sequence, work: Callable) -> tuple[dict[str, str], list[str]]:
    """Works on units in turn; gives by unit what went wrong, and the warnings."""
    found = {str(unit): _run_apart(unit, work) for unit in units}
    problems = {unit: problem for unit, (problem, _) in found.items() if problem is not None}
    return problems, [note for _, notes in found.values() for note in notes]


def _run_apart(unit, work: Callable) -> tuple[str | None, list[str]]:
    """Works on a unit in a process of its own, for TensorFlow does not give memory back."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context, initializer=_begin) as executor:
            return executor.submit(_try, work, unit).result()
    except BrokenProcessPool:
        return (
            "its process was killed, perhaps for want of memory. Run the same command again, with "
            "fewer --jobs."
        ), []


def _begin() -> None:
    # An interrupt reaches all processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_tensorflow()
    import tensorflow as tf

    # Sums depend on the number of threads in their last digits, and after some epochs in the
    # first ones. With one, the figures do not depend on the number of processors or jobs.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    # Not one of these: it can wait for ever for the input pipeline, which needs it too.
    tf.config.threading.set_inter_op_parallelism_threads(2)


def _try(work: Callable, unit) -> tuple[str | None, list[str]]:
    """Gives what went wrong, and warnings, as text: not every exception goes between processes."""
    problem = None
    with warnings.catch_warnings(record=True) as caught:
        try:
            work(unit)
        except (ValueError, OSError) as error:
            problem = str(error)
        except Exception:
            problem = traceback.format_exc()
    return problem, [" ".join(str(each.message).split()) for each in caught]
