"""What lies behind quantize.py: plan, observation, rounding, and the tables of a TFLite file."""
