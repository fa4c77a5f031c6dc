"""The commands of `ratchet`, one module each; service.cli puts them together."""
