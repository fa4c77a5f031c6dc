"""Everything that can go wrong, named after what its reader must do."""


class FixConfiguration(Exception):
    """Stop and change what the message names: a setting, a topic, an address. Exit status 2."""


class WaitAndRetry(Exception):
    """The database or the broker is away or did not answer; nothing is lost. Retried in place."""


class LaneLost(Exception):
    """Another worker has taken the lane over. Close it quietly."""


class RestartProcess(Exception):
    """The process makes no progress and cannot help itself. Exit status 3, so that it is started again."""
