"""The family `coupling`: a small normalising flow, added to morphogen from outside."""
