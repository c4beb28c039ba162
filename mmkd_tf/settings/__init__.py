"""Settings: their groups, names, values and words, and the YAML that they are read from."""
