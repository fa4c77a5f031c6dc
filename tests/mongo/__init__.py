"""service/mongo."""
