"""service/kafka."""
