"""The parts of a run: its folder, data, trainings, callbacks and report."""
