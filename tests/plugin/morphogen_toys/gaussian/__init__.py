"""A Gaussian for each class: the smallest family."""
