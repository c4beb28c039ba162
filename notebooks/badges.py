"""Sets where the notebooks' badges lead: `python notebooks/badges.py OWNER/NAME`, once it is known."""

import re
import sys
from pathlib import Path

# The one place that says where the project is public; nobody has said so yet.
REPOSITORY = "OWNER/mmkd_tf"
ADDRESS = re.compile(r"(?<=colab\.research\.google\.com/github/)[^/]+/[^/]+(?=/blob/)")


def set_repository(repository: str) -> None:
    """Writes the repository, such as `name/mmkd_tf`, into this file and all notebooks."""
    own = Path(__file__)
    text = own.read_text(encoding="utf-8")
    own.write_text(text.replace(f'"{REPOSITORY}"', f'"{repository}"', 1), encoding="utf-8")
    for notebook in own.parent.glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        notebook.write_text(ADDRESS.sub(repository, text), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"[\w.-]+/[\w.-]+", sys.argv[1]):
        sys.exit("One argument: the repository as OWNER/NAME.")
    set_repository(sys.argv[1])
