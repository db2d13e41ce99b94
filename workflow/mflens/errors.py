"""Errors that a user can cause: one sentence each, naming thing and remedy."""


class MflensError(Exception):
    """Base of all errors whose message is meant for the user: one line, whatever names it holds."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


class ConfigError(MflensError):
    """A config value that cannot work."""


class DataError(MflensError):
    """A file that is missing, broken or does not fit the others."""


class TrainingError(MflensError):
    """Training that cannot go on, for example at a non-finite loss."""
