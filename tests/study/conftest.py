import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (220, 30, 30), "blue": (40, 60, 220)}


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table of 40 rows with pictures that any model can tell apart."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    lines = ["image,text,label"]
    for index in range(20):
        for label, colour in COLOURS.items():
            pixels = np.clip(rng.normal(colour, 30, [16, 16, 3]), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{label}{index}.png")
            lines.append(f"{label}{index}.png,a {label} thing {index % 7},{label}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"
