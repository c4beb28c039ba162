"""Sections of a run's page: functions of the results to HTML."""
