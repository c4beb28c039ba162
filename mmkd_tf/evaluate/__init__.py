"""Evaluation: how good a model is, and whether distillation helped."""
