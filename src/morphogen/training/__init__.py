"""Training: from a source to a model folder. Imports nothing, so that the command line reads options without torch."""
