import sys
from pathlib import Path

import pytest
import tensorflow as tf

# The test modules and make.py share golden_cases.py, which pytest's importlib mode would not find.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="package", autouse=True)
def graphs_as_people_have_them():
    """Other tests leave out what takes long before a graph's first step: see ../conftest.py."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
