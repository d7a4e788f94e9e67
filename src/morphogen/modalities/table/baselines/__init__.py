"""Generators of rows that cost seconds: compare every model with them."""

from .independent import independent as independent
from .mixture import mixture as mixture
from .trees import sequential_trees as sequential_trees
