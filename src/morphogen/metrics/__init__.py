"""Metrics on features, one file each, and the statistics behind them: no models, no files, no modality."""
