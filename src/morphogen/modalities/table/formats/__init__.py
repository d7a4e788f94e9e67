"""How a table is written: the format of each column, the dialect of a csv file, the labels and types of a frame."""
