"""What lies behind `soft_targets.py`: a teacher's outputs asked for, kept and read again."""
