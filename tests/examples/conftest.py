"""The small model of tests/export, and scripts that lie outside the package."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

TESTS = Path(__file__).parents[1]

# Behind all that is installed, so that the package of the checkout is not seen.
sys.path.append(str(TESTS.parent / "examples" / "web"))

_spec = spec_from_file_location("export_fixtures", TESTS / "export" / "conftest.py")
_fixtures = module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
for _name in ("model", "class_names", "vocabulary", "modalities", "examples"):
    globals()[_name] = getattr(_fixtures, _name)
