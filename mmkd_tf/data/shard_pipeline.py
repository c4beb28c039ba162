"""Makes shards by a pipeline of Apache Beam, on whatever runner there is."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

NAMESPACE = "mmkd_tf"  # of counters


def find_beam():
    """Gives the package; a ModuleNotFoundError says how to install it."""
    try:
        import apache_beam

        return apache_beam
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The package apache-beam is needed ({error}). Run `pip install 'mmkd-tf[beam]'`."
        ) from error


def run_pipeline(
    jobs: Sequence, make: Callable[..., Mapping], *, runner: str, options: Sequence[str] = ()
) -> None:
    """Calls `make(job)` for each job on the workers of a runner, and waits for all of them.

    What `make` gives has numbers, such as of `rows`, and more by reason under `left_out`, which
    become counters of the pipeline; of a job that a runner repeats they count again. All else that
    it gives is no matter.

    Args:
        jobs: What there is to do; each can be pickled and repeated.
        make: A function of a module.
        runner: A runner of Beam, such as DirectRunner, FlinkRunner, SparkRunner, DataflowRunner.
        options: Beam's own options, such as `--direct_num_workers=2`.

    Raises:
        ModuleNotFoundError: If Beam is not installed.
    """
    beam = find_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    # Elements that were created together would stay together on one worker.
    with beam.Pipeline(runner=runner, options=PipelineOptions(list(options))) as pipeline:
        created = pipeline | "Shards" >> beam.Create(list(jobs))
        spread = created | "Spread" >> beam.Reshuffle()
        _ = spread | "Make" >> beam.Map(partial(_counted, make))


def _counted(make: Callable[..., Mapping], job) -> None:
    from apache_beam.metrics import Metrics

    found = make(job)
    counts = {name: number for name, number in found.items() if isinstance(number, int)}
    reasons = found.get("left_out", {})
    counts |= {"shards": 1, **{f"left out: {reason}": n for reason, n in reasons.items()}}
    for name, number in counts.items():
        Metrics.counter(NAMESPACE, name).inc(number)
