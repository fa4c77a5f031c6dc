"""What administrators and operators do, as functions: the command line calls them, and an HTTP interface could."""
