"""Readings of a sensor over time, in whole tenths."""
