"""The section about the exported files."""

from mmkd_tf.report.exports_page import file_columns, file_rows, rung_columns, rung_rows
from mmkd_tf.report.sections.html import Markup, paragraph, section, table, tag


def files(results: dict) -> Markup:
    """Lists the exported files beside Keras, and the levels of quantisation that were tried.

    Args:
        results: What `results.json` holds.
    """
    exports = results["exports"]
    counts = sorted({made["num_examples"] for made in exports})
    parts = [
        paragraph(
            "Each file was run and compared with the student in Keras, on ",
            " or ".join(f"{count:,}" for count in counts),
            " validation examples and on the test examples. Latency: median, one thread, one "
            "example, on the machine of the run; on a phone it is another.",
        ),
        table(file_columns(exports), file_rows(exports), num_words=2),
    ]
    for made in exports:
        if made["ladder"]:
            parts += [
                tag("h3", f"Levels tried for {made['file']}"),
                paragraph(
                    "The smallest that is accepted on validation was taken. Sizes are without "
                    "labels and vocabulary."
                ),
                table(rung_columns(made), rung_rows(made)),
            ]
    return section("The files", *parts)
