"""Training: from a source to a model folder. Nothing is imported here: the command line reads options without torch."""
