"""What administrators and operators do, through the real command on real servers."""
