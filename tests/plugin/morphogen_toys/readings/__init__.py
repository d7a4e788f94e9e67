"""Readings of a dial, in whole tenths."""
