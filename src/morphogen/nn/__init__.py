"""Networks, one per kind, for every number of axes."""
