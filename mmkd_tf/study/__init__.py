"""The study: the same student alone and distilled, over datasets, seeds and recipes."""
