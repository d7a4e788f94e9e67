"""Generators of rows that cost seconds, beside which every other one is to be looked at."""

from .independent import independent as independent
from .mixture import mixture as mixture
from .trees import sequential_trees as sequential_trees
