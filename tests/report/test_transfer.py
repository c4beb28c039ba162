"""What is said of rows without labels."""

from mmkd_tf.report.sentences import transfer


def test_rows_without_labels_are_said_in_one_sentence():
    found = {
        "rows": {"unlabelled": 1200, "word_rows": 0, "recombined_rows": 300},
        "sure": 900,
        "repeats_left_out": 4,
    }
    assert transfer({"transfer": found}) == (
        "The distilled student learnt from the teacher's answers to 1,500 rows without labels too "
        "(1,200 given without labels, 300 recombined of training rows); of 900 of them it was sure "
        "(probability 0.8 or more); 4 that repeat validation or test rows were left out."
    )
    fewer = found | {"sure": None, "repeats_left_out": 0}
    assert transfer({"transfer": fewer}).endswith("300 recombined of training rows).")
    assert transfer({"transfer": None}) == transfer({}) == ""
