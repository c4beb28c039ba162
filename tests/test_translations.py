"""Translated pages are built like what they translate: the same headings and the same code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRANSLATED = {
    "README.md": "README.zh.md",
    "docs/getting-started.md": "docs/zh/getting-started.md",
}
BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def parts(page: str) -> tuple[list[str], list[str], list[int]]:
    """The code blocks of a page, and by heading its level and the number of its table rows."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks, rest = BLOCK.findall(text), BLOCK.sub("", text)
    levels = re.findall(r"^(#+) ", rest, re.MULTILINE)
    rows = [part.count("\n|") for part in re.split(r"^#+ ", rest, flags=re.MULTILINE)]
    return blocks, levels, rows


@pytest.mark.parametrize("original", TRANSLATED)
def test_a_translation_is_in_step(original):
    (blocks, levels, rows), other = parts(original), parts(TRANSLATED[original])
    assert len(other[1]) == len(levels), "not as many headings"
    assert other[1] == levels, "headings of other levels"
    assert other[2] == rows, "tables with more or fewer rows, by heading"
    for number, (block, translated) in enumerate(zip(blocks, other[0], strict=True), start=1):
        assert translated == block, f"code block {number} of {original} has changed"


@pytest.mark.parametrize("page", TRANSLATED.values())
def test_its_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert "://" in target or ((ROOT / page).parent / target).exists(), target
