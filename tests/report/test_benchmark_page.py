from mmkd_tf.report.benchmark_page import training_text


def test_every_figure_has_its_line():
    measured = {
        "seconds": {"student": 1.5, "cached": 1.53},
        "ratios": {"cached / student": {"median": 1.02, "least": 0.99, "greatest": 1.1}},
    }
    lines = training_text(measured).splitlines()
    assert lines[1].split() == ["student", "1.50"]
    assert lines[-1].split() == ["cached", "/", "student", "1.020", "0.990", "1.100"]
    assert len({len(line) for line in lines[1:3]}) == 1
