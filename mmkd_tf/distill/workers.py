"""Several processes that train together, mostly one a machine, as TF_CONFIG tells each of them.

The first one is the chief, whose word counts wherever processes could come to differ.
"""

import json
import os

import keras
import numpy as np
import tensorflow as tf


def cluster() -> tuple[int, int]:
    """Number of processes that TF_CONFIG names, 1 where there is none, and which this is, from 0.

    Raises:
        ValueError: If it is no such description, or names processes that do not train.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        jobs, task = config.get("cluster") or {}, config.get("task") or {}
        names = [(job, i) for job in ("chief", "worker") for i in range(len(jobs.get(job) or []))]
        others = sorted(set(jobs) - {"chief", "worker"})
        if not jobs:
            return 1, 0
        if not others:
            return len(names), names.index((str(task.get("type")), int(task["index"])))
        reason = f"with {', '.join(others)}"
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        reason = str(error)
    raise ValueError(
        '`TF_CONFIG`: {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", '
        '"index": 0}}, where the task is one of the cluster, whose jobs are worker and perhaps '
        f"chief. Received: {text} ({reason})."
    )


def is_chief() -> bool:
    """Whether this is the first process of TF_CONFIG, or the only one."""
    return cluster()[1] == 0


def together(name: str) -> bool:
    """Whether `training.strategy` means several processes: auto does where TF_CONFIG names them."""
    return name == "multiworker" or (name == "auto" and cluster()[0] > 1)


def workers_strategy() -> tf.distribute.Strategy:
    """Makes the strategy of several processes, which waits for all of them.

    Raises:
        ValueError: If TF_CONFIG names no others, or TensorFlow is at work already.
    """
    number, _ = cluster()
    if number < 2:
        raise ValueError(
            "`training.strategy`: multiworker where TF_CONFIG names two processes or more. "
            f"Received: TF_CONFIG={os.environ.get('TF_CONFIG') or 'not set'}. Set it on each "
            "machine, see docs/scale.md, or take auto, which uses all GPUs of this one."
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            "`training.strategy`: multiworker made before TensorFlow computes anything. Received: "
            f"a process in which it has ({error}). Call "
            "mmkd_tf.distill.replicas.strategy_by_name('multiworker') first of all."
        ) from None


def refuse_together(name: str, what: str) -> None:
    """Raises a ValueError where several processes are meant and `what` is of one."""
    if together(name):
        raise ValueError(
            f"`training.strategy`: none or mirrored for {what}, of one process each. Received: "
            f"{name}, with {cluster()[0]} processes in TF_CONFIG."
        )


def check_steps(strategy: tf.distribute.Strategy, steps_per_execution) -> None:
    """Raises a ValueError for several steps in one call, where TensorFlow fails."""
    if between_workers(strategy) and steps_per_execution != 1:
        raise ValueError(
            "`steps_per_execution`: 1 under MultiWorkerMirroredStrategy, where TensorFlow fails in "
            f"a loop of several steps. Received: steps_per_execution={steps_per_execution!r}."
        )


def between_workers(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether the replicas of a strategy are of several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and (
        strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)
    )


def from_chief(data: bytes, strategy: tf.distribute.Strategy) -> bytes:
    """Gives every process the bytes of the chief; what the others give does not count.

    All of them call it, and in the same order.
    """
    size = np.array([len(data)], np.uint64).view(np.uint16)
    size = int(_of_chief(size, strategy).view(np.uint64)[0])
    words = np.zeros(max(1, -(-size // 2)), np.uint16)
    if is_chief():
        words.view(np.uint8)[:size] = np.frombuffer(data, np.uint8)
    return _of_chief(words, strategy).tobytes()[:size]


def _of_chief(words: np.ndarray, strategy: tf.distribute.Strategy) -> np.ndarray:
    """The chief's words, uint16 `[n]`: as float32, which has them exactly, in a sum with zeros.

    Such sums are what gradients take, so that they are to be had on every device.
    """

    @tf.function
    def total(numbers):
        def part():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(tf.equal(replica, 0), numbers, tf.zeros_like(numbers))

        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(part), axis=None)

    return total(tf.constant(words, tf.float32)).numpy().astype(np.uint16)


def take_chiefs_weights(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Gives a model those that it has in the chief's process; rounding may have told them apart."""
    weights = model.get_weights()
    data, at = from_chief(b"".join(each.tobytes() for each in weights), strategy), 0
    for number, each in enumerate(weights):
        weights[number] = np.frombuffer(data, each.dtype, each.size, at).reshape(each.shape)
        at += each.nbytes
    model.set_weights(weights)
