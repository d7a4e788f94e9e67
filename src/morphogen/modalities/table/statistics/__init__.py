"""Statistics of two tables: by column, by pair of columns, to a classifier, and as training data."""
