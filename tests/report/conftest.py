import numpy as np
import pytest


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
