import sys
from pathlib import Path

# The test modules and make.py share golden_cases.py, which pytest's importlib mode would not find.
sys.path.insert(0, str(Path(__file__).parent))
