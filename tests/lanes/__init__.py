"""service/lanes."""
