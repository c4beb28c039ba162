"""How long an exported student takes to answer for a sound, as a share of the sound's length.

Run it with `python benchmarks/audio.py`; it takes some two minutes. The student is untrained,
since weights don't matter for time. All of it is on one thread. `samples` is from samples at the
model's rate to the answer, `file` from the bytes of a stereo WAV file of 44,100 samples a second.
"""

import io
import tempfile
import time
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import typer

from mmkd_tf.quiet import quiet_tensorflow

FILE_RATE = 44_100


def main(
    longest: Annotated[float, typer.Option(min=1, help="Seconds of the longest sound.")] = 5.0,
    repeats: Annotated[int, typer.Option(min=1, help="Calls of which the median counts.")] = 50,
) -> None:
    """Print a line for each length and quantisation."""
    quiet_tensorflow()
    from mmkd_tf.edge import Classifier
    from mmkd_tf.export import export_tflite
    from mmkd_tf.modalities.audio import Audio
    from mmkd_tf.models import build_student

    rng = np.random.default_rng(0)
    for length in (1.0, longest):
        audio = Audio(seconds=length)
        model = build_student(SimpleNamespace(modalities={"audio": audio}, num_classes=10))
        sounds = rng.uniform(-0.5, 0.5, [8, audio.samples]).astype(np.float32)
        names = [f"class {index}" for index in range(10)]
        for level in (None, "dynamic", "mixed"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "student.tflite"
                made = export_tflite(
                    model,
                    path,
                    class_names=names,
                    examples={"audio": sounds},
                    modalities={"audio": audio},
                    quantize=level,
                )
                classifier = Classifier(path)
            shares = []
            for name, value in (("samples", sounds[0]), ("file", _stereo_file(rng, length))):
                spent = _seconds(classifier, value, repeats)
                shares.append(f"{name} {1000 * spent:.1f} ms ({spent / length:.2%})")
            typer.echo(
                f"{length:g} s, {made.quantize}, {made.bytes / 1024:.0f} KiB: {', '.join(shares)}"
            )


def _stereo_file(rng: np.random.Generator, seconds: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((2, 2, FILE_RATE, 0, "NONE", ""))
        samples = rng.integers(-(2**14), 2**14, [round(seconds * FILE_RATE), 2])
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _seconds(classifier, value, repeats: int) -> float:
    """The median time of a call."""
    classifier.predict(audio=value)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        classifier.predict(audio=value)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


if __name__ == "__main__":
    typer.run(main)
