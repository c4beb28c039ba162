from html.parser import HTMLParser

import pytest

from mmkd_tf.report.sections.html import Markup, bar, table, tag, text


def test_text_is_escaped_once_and_markup_not_at_all():
    assert text("a < b & 'c'") == "a &lt; b &amp; &#x27;c&#x27;"
    assert text(text("a < b")) == "a &lt; b"
    assert tag("p", "<b>", tag("i", "x"), 3) == "<p>&lt;b&gt;<i>x</i>3</p>"
    assert isinstance(tag("p"), Markup)


def test_attributes_are_escaped_and_left_out_where_none():
    made = tag("td", "x", class_="right", title='say "<"', style=None)
    assert made == '<td class="right" title="say &quot;&lt;&quot;">x</td>'


def test_a_table_has_a_heading_for_each_row_and_figures_to_the_right():
    class Cells(HTMLParser):
        found = ()

        def handle_starttag(self, name, attributes):
            if name in ("th", "td"):
                self.found += ((name, *dict(attributes).values()),)

    cells = Cells()
    cells.feed(table(("name", "size", ""), [("a<", "1", "why")]))
    head = ("th", "col"), ("th", "col", "figure"), ("th", "col")
    assert cells.found == (*head, ("th", "row"), ("td", "figure"), ("td",))
    with pytest.raises(ValueError, match="zip"):
        table(("name", "size"), [("a", "1", "2")])


@pytest.mark.parametrize(("share", "width"), [(0.5, "50.0%"), (1.2, "100.0%"), (-1, "0.0%")])
def test_a_bar_stays_within_its_cell(share, width):
    assert f"--share: {width}" in bar(share, "0.500")
