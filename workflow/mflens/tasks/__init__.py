"""The published tasks: what is drawn, how methods are scored, and the tables of both."""
