"""Reports: what a person reads of a run, at the terminal and afterwards."""
