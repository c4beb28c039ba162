import numpy as np
import pytest

from mmkd_tf.config import make_config


def fabricated(*, datasets=("emoji",), recipes=("default",), seeds=5, splits=("validation",)):
    """What `study.json` holds, with figures that are only there to be shown."""
    rng = np.random.default_rng(3)
    results = {"seeds": seeds, "datasets": {}, "failed": {}, "versions": {}}
    results["absence"] = {split: {"left": [], "cost": []} for split in splits}
    results["recipes"] = {name: {"temperature": 4.0} for name in recipes}
    results["ranking"] = [
        {"recipe": name, "mean_difference": 0.02 - 0.01 * i} for i, name in enumerate(recipes)
    ]
    for place, dataset in enumerate(datasets):
        names = ["teacher", "student_alone", *(f"recipe-{name}" for name in recipes)]
        middle = 0.6 + 0.1 * place + np.r_[0.06, 0.0, np.linspace(-0.01, 0.04, len(recipes))]
        accuracy = middle[:, None] + rng.normal(0, 0.012, [len(names), seeds])
        models = {
            name: {
                "accuracy": values.tolist(),
                "cross_entropy": [1.25] * seeds,
                "macro_f1": [0.5] * seeds,
                "mean": {"accuracy": values.mean(), "cross_entropy": 1.25, "macro_f1": 0.5},
                "without": {},
            }
            for name, values in zip(names, accuracy, strict=True)
        }
        comparisons = {
            name: {
                "differences": (values - accuracy[1]).tolist(),
                "mean_difference": (values - accuracy[1]).mean(),
                "interval": (-0.011, 0.042),
                "interval_with_examples": (-0.02, 0.051),
                "gap_closed": None if place else 0.37,
                "verdict": f"Verdict on {dataset} and {name}.",
            }
            for name, values in zip(recipes, accuracy[2:], strict=True)
        }
        results["datasets"][dataset] = {
            "config": {},
            "models": {
                name: {"seeds": list(range(seeds)), "parameters": 39017, "seconds": [50.0] * seeds}
                for name in names
            },
            "splits": {
                split: {"examples": 100, "models": models, "comparisons": comparisons}
                for split in splits
            },
        }
    return results


@pytest.fixture
def fabricate():
    return fabricated


def _measured(names, counts, parameters):
    """One model's part of `results.json`, with figures that follow from its confusion matrix."""
    counts = np.array(counts)
    per_class = [
        {
            "name": name,
            "precision": float(counts[i, i] / max(counts[:, i].sum(), 1)),
            "recall": float(counts[i, i] / counts[i].sum()),
            "f1": 0.5,
            "support": int(counts[i].sum()),
        }
        for i, name in enumerate(names)
    ]
    test = {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "macro_recall": 0.611,
        "macro_f1": 0.622,
        "expected_calibration_error": 0.033,
        "per_class": per_class,
        "confusion_matrix": counts.tolist(),
    }
    return {"parameters": parameters, "validation": test, "test": test}


def _damage(modality, end):
    curves = {
        name: np.linspace(clean, end, 6).tolist()
        for name, clean in (("teacher", 0.9), ("student_alone", 0.7), ("student", 0.8))
    }
    return {
        "modality": modality,
        "measure": "share of <it>",
        "levels": ["0%", "1%", "2%", "3%", "4%", "5%"],
        "score": curves,
        "relative": {name: (curve[0] + curve[-1]) / 2 for name, curve in curves.items()},
        "effective": {"teacher": -0.1, "student": -0.05},
    }


def _compared(names, results):
    """What `compare_models` gives, with intervals of a tenth about each figure."""
    scores = {
        name: results[name]["test"]["accuracy"] for name in ("teacher", "student_alone", "student")
    }
    scores["naive"] = 0.25
    differences = {
        "over_naive": scores["student"] - 0.25,
        "to_teacher": scores["student"] - scores["teacher"],
        "teaching": scores["student"] - scores["student_alone"],
        "gap": scores["teacher"] - scores["student_alone"],
    }
    return {
        "num_examples": results["dataset"]["sizes"]["test"],
        "naive": {"words": f"always naming {names[0]}", "score": 0.25},
        "intervals": {name: [score - 0.05, score + 0.05] for name, score in scores.items()},
        "differences": {
            name: {"difference": value, "interval": [value - 0.02, value + 0.02]}
            for name, value in differences.items()
        },
    }


def fabricated_examples():
    """What `gallery` gives."""
    answers = {
        "teacher": {"words": "cup", "sure": 0.75, "right": True},
        "student": {"words": "<b>pot</b> & co", "sure": 0.5, "right": False},
    }
    picture = {"form": "picture", "data": "data:image/png;base64,iVBORw0KGgo="}
    example = {
        "row": 3,
        "number": 17,
        "inputs": {
            "image": picture,
            "text": {"form": "text", "words": "<script>alert(1)</script>"},
        },
        "label": "cup",
        "answers": answers,
    }
    absent = {**example, "row": 4, "inputs": {"image": {"form": "absent"}}}
    return [
        {"name": "mistakes", "total": 7, "examples": [example, absent]},
        {"name": "disagreements", "total": 0, "examples": []},
        {"name": "unsure", "total": 9, "examples": [example]},
    ]


def fabricated_run(names=("cup", "<b>pot</b> & co", "pan")):
    """What `results.json` holds of a run."""
    size = len(names)
    counts = (
        8 * np.eye(size, dtype=int)
        + np.eye(size, k=1, dtype=int)
        + 3 * np.eye(size, k=-2, dtype=int)
    )
    file = {
        "file": "student_small.tflite",
        "quantize": "dynamic",
        "bytes": 61_440,
        "latency_ms": 0.1234,
        "latency_spread_ms": [0.11, 0.15],
        "accuracy": 0.8,
        "keras_accuracy": 0.8,
        "top1_agreement": 0.995,
        "max_abs_logit_difference": 0.0123,
        "num_examples": 30,
        "test_accuracy": 0.79,
        "test_top1_agreement": 0.991,
        "ladder": [
            {
                "level": "dynamic",
                "bytes": 60_000,
                "accuracy": 0.8,
                "top1_agreement": 0.995,
                "latency_ms": 0.12,
                "max_abs_logit_difference": 0.02,
                "accepted": True,
                "reason": None,
            },
            {"level": "mixed", "bytes": None, "reason": "ValueError: a < b"},
        ],
    }
    clean = {"teacher": 0.9, "student_alone": 0.7, "student": 0.8}
    absent = {"image": 0.4321, "text": 0.55}
    results = {
        "dataset": {
            "name": "pots <&> pans",
            "sizes": {"train": 70 * size, "validation": 10 * size, "test": int(counts.sum())},
            "class_names": list(names),
            "class_counts": {
                split: dict.fromkeys(names, 10) for split in ("train", "validation", "test")
            },
            "modalities": {"image": "uint8 RGB, 16 x 16 pixels", "text": "4 token ids"},
            "notes": ["1 bad row of <items>.csv left out."],
        },
        "teacher": _measured(names, counts + 5 * np.eye(size, dtype=int), 90_000),
        "student_alone": _measured(names, counts + np.eye(size, k=1, dtype=int), 3_000),
        "student": {**_measured(names, counts, 3_000), "agreement_with_teacher": 0.875},
        "gap_closed": 0.25,
        "robustness": {
            "split": "test",
            "num_examples": int(counts.sum()),
            "clean": clean,
            "absent": {"teacher": absent, "student_alone": {}, "student": absent},
            "damage": {"blur": _damage("image", 0.3), "dropped_words": _damage("text", 0.5)},
        },
        "exports": [{**file, "file": "student.tflite", "bytes": 163_840, "ladder": []}, file],
        "seconds": {"data": 1.0, "student_alone": 2.5},
        "peak_memory_mib": 1234.0,
        "versions": {"python": "3.12.1", "mmkd-tf": "0.1.0"},
        "seed": 3,
        "config": make_config({"seed": 3, "epochs": 7, "author": "<i>me</i>"}).model_dump(),
        "history": {
            name: {"epoch": [1, 2], "loss": [1.5, 1.2], "val_loss": [1.25, 1.0], "val_accuracy": a}
            for name, a in (("teacher", [0.5, 0.875]), ("student", [0.25, 0.75]))
        },
        "reliability": {
            "teacher": [{"confidence": 0.9, "right": 0.8, "count": 20}],
            "student": [
                {"confidence": 0.4, "right": 0.5, "count": 10},
                {"confidence": 0.8, "right": 0.7, "count": 19},
            ],
        },
    }
    return results | {"test_comparison": _compared(names, results)}


@pytest.fixture(scope="session")
def fabricate_examples():
    return fabricated_examples


@pytest.fixture
def examples():
    return fabricated_examples()


@pytest.fixture(scope="session")
def fabricate_run():
    return fabricated_run
