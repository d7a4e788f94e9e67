"""Tables: rows of columns of any kind."""
