"""Sets where the notebooks' badges lead: `python notebooks/badges.py OWNER/NAME`, once it is known."""

import re
import sys
from pathlib import Path

# The one place that says where the project is public. Until somebody does, badges open Colab's own
# page, where a notebook can be uploaded.
REPOSITORY = ""
COLAB = "https://colab.research.google.com/"
ADDRESS = re.compile(rf"(?<=\(){re.escape(COLAB)}[^)]*(?=\))")


def badge_address(repository: str, notebook: str) -> str:
    """Where the badge of a notebook leads.

    Args:
        repository: Such as `owner/name`; empty while it is not known.
        notebook: The name of the file.
    """
    return f"{COLAB}github/{repository}/blob/main/notebooks/{notebook}" if repository else COLAB


def set_repository(repository: str) -> None:
    """Writes the repository, such as `owner/name`, into this file and all notebooks."""
    own = Path(__file__)
    text = own.read_text(encoding="utf-8")
    own.write_text(text.replace(f'"{REPOSITORY}"', f'"{repository}"', 1), encoding="utf-8")
    for notebook in own.parent.glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        address = badge_address(repository, notebook.name)
        notebook.write_text(ADDRESS.sub(address, text), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"[\w.-]+/[\w.-]+", sys.argv[1]):
        sys.exit("One argument: the repository as OWNER/NAME.")
    set_repository(sys.argv[1])
