"""Errors that users can mend: each is shown as one message, without a traceback."""


class UserError(ValueError):
    """Something the user set or supplied does not work: a key, a file, a row.

    The message gives the rule, the value, where it came from and the way out. The scripts print it alone and exit
    with status 2; every other exception is a mistake of ours and keeps its traceback.
    """


class RefusedDataError(UserError):
    """The data cannot be used as they are. No run has begun then, and none is left behind."""
