"""Runs the units of a study in parallel processes, as many as the machine can hold.

Nothing is imported at the top that imports TensorFlow: a new process sets it up first.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from mmkd_tf.quiet import quiet_tensorflow

# What a process took at its peak that trained the default models on the embedded data.
BYTES_PER_JOB = 3 * 2**29


def default_jobs(num_units: int) -> int:
    """Number of units to train at once: one a processor, where their memory suffices."""
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


def train_all(
    groups: Sequence[Sequence], *, jobs: int, say: Callable[[str], None]
) -> dict[str, str]:
    """Trains units; one that fails does not keep the others from being trained.

    Args:
        groups: Units, see `mmkd_tf.study.unit.Unit`; those of a group one after the other.
        jobs: How many groups at once.
        say: Told about each failure, in one line.

    Returns:
        By unit that failed, the reason.
    """
    failed = {}
    before = multiprocessing.active_children()
    with ThreadPoolExecutor(jobs) as executor:
        futures = [executor.submit(_train_group, group) for group in groups]
        try:
            for future in as_completed(futures):
                for unit, problem in future.result().items():
                    failed[unit] = problem
                    say(f"{unit} failed: {problem}")
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                if process not in before:
                    process.terminate()
            raise
    return failed


def _train_group(units: Sequence) -> dict[str, str]:
    """Trains units in turn; gives by unit what went wrong."""
    problems = {str(unit): _train_apart(unit) for unit in units}
    return {unit: problem for unit, problem in problems.items() if problem is not None}


def _train_apart(unit) -> str | None:
    """Trains a unit in a process of its own, for TensorFlow does not give memory back."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context, initializer=_begin) as executor:
            return executor.submit(_train, unit).result()
    except BrokenProcessPool:
        return (
            "its process was killed, perhaps for want of memory. Run the same command again, with "
            "fewer --jobs."
        )


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


def _train(unit) -> str | None:
    """Gives what went wrong as text, because not every exception can go between processes."""
    from mmkd_tf.report.progress import Reporter
    from mmkd_tf.study.unit import train_unit

    try:
        train_unit(unit, Reporter().say)
    except (ValueError, OSError) as error:
        return str(error)
    except Exception:
        return traceback.format_exc()
    return None
