from mmkd_tf.report.absence_page import absence_markdown, absence_text


def results(without):
    mean = {"accuracy": 0.75}
    models = {"student_alone": {"mean": mean, "without": without}}
    left = {"dataset": "items", "model": "recipe-dist", "modality": "image", "accuracy": 0.45}
    left |= {"made_for_it": "pictures", "made_for_it_accuracy": 0.5, "share": 0.9}
    cost = {"dataset": "items", "model": "student_alone", "without_dropout": "spared"}
    cost |= {"mean_difference": -0.004, "interval": (-0.012, 0.003)}
    rows = {"left": [left], "cost": [cost]} if without else {"left": [], "cost": []}
    return {
        "datasets": {"items": {"splits": {"test": {"models": models}}}},
        "absence": {"test": rows},
    }


def test_shows_what_is_lost_and_what_it_costs():
    shown = "\n".join(absence_markdown(results({"image": 0.4, "text": 0.5}), "test"))
    assert "| dataset | model | complete | without image | without text |" in shown
    assert "| items | student alone | 0.750 | 0.400 | 0.500 |" in shown
    assert "| items | distilled: dist | image | pictures | 0.450 | 0.500 | 0.900 |" in shown
    assert "| items | student alone | spared | -0.4 | -1.2 to +0.3 |" in shown
    assert "0.900" in "\n".join(absence_text(results({"image": 0.4, "text": 0.5}), "test"))


def test_says_nothing_of_models_with_one_modality():
    assert absence_markdown(results({}), "test") == []
