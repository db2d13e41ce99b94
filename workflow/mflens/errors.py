"""Errors that a user can cause: one sentence each, naming thing and remedy."""


class MflensError(Exception):
    """Base of all errors whose message is meant for the user."""


class ConfigError(MflensError):
    """A config value that cannot work."""


class DataError(MflensError):
    """A file that is missing, broken or does not fit the others."""


class TrainingError(MflensError):
    """Training that cannot go on, for example at a non-finite loss."""
