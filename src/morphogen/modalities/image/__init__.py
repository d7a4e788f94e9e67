"""Pictures: any size, grey or colour, 8 or 16 bit, as numbers in [-1, 1] or as pixel tokens."""
