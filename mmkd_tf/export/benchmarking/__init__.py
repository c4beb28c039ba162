"""What lies behind benchmark.py: the files, their processes, rounds and results."""
