"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something that the user can mend: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
