"""Statistics of texts alone: variety, spelling, and spans copied from training texts.

Read each beside its value on as many held-out texts of similar length.
"""
