"""What `import mmkd_tf` gives, and what it leaves to be imported later."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

import mmkd_tf
from mmkd_tf import Distiller, Relation, SoftTargets, build_student, build_teacher, losses
from mmkd_tf.modalities.image import Image
from mmkd_tf.modalities.text import Text
from mmkd_tf.models.fusion import Fusion
from mmkd_tf.serialization import CLASSES, PACKAGE

LOAD = """
import sys
import mmkd_tf
early = {"keras", "pandas", "numpy", "tensorflow"} & set(sys.modules)
assert not early, f"imported at once: {early}"
import keras
student, distiller = (keras.models.load_model(path) for path in sys.argv[1:])
print(*sorted({type(layer).__name__ for layer in student.layers}))
print(*(type(term).__name__ for term in distiller.terms), distiller.terms[1].loss.__name__)
"""


def models() -> dict[str, keras.Model]:
    words = ["<pad>", "<unk>", "red", "cup"]
    inputs = {"image": Image(height=16), "text": Text(vocabulary=words, length=3)}
    data = SimpleNamespace(modalities=inputs, num_classes=3)
    return {"student": build_student(data), "teacher": build_teacher(data)}


def test_saved_models_load_where_the_package_alone_was_imported(tmp_path):
    made = models()
    distiller = Distiller(**made)
    relation = Relation("fused_features", 1.0, losses.similarity_preserving_loss)
    distiller.compile("adam", terms=[SoftTargets(), relation])
    made["student"].save(tmp_path / "student.keras")
    distiller.save(tmp_path / "distiller.keras")
    paths = [str(tmp_path / f"{name}.keras") for name in ("student", "distiller")]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    layers, terms = done.stdout.splitlines()[-2:]
    assert {"Presence", "ModalityDropout"} <= set(layers.split())
    assert any(issubclass(getattr(mmkd_tf.models, name, int), Fusion) for name in layers.split())
    assert terms == "SoftTargets Relation similarity_preserving_loss"


def test_every_registered_class_is_known_from_the_import_on():
    for module in pkgutil.walk_packages(mmkd_tf.__path__, "mmkd_tf."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    registered = keras.saving.get_custom_objects()
    found = {
        name: thing.__module__
        for name, thing in registered.items()
        if name.startswith(f"{PACKAGE}>") and inspect.isclass(thing)
    }
    known = {f"{PACKAGE}>{name}": module for module, names in CLASSES.items() for name in names}
    assert known == found


def test_public_names_are_there_and_types_are_said_for_each():
    for name in mmkd_tf.__all__:
        assert getattr(mmkd_tf, name) is not None
    assert set(mmkd_tf.__all__) <= set(dir(mmkd_tf))
    source = ast.parse(Path(mmkd_tf.__file__).read_text(encoding="utf-8"))
    checked = next(node for node in source.body if isinstance(node, ast.If))
    typed = {alias.name for node in checked.body for alias in node.names}
    assert typed == set(mmkd_tf.__all__) - {"__version__"}
    assert (Path(mmkd_tf.__file__).parent / "py.typed").is_file()


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        _ = mmkd_tf.distil
