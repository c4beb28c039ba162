"""Damage: what happens to pictures and texts out there, at graded strengths."""
