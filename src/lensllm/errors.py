"""The errors that are a user's to mend, told in one sentence."""


class InputError(ValueError):
    """Something the user gave cannot be used: the message says what, where and what to do.

    The command line prints the message alone and exits with code 2.
    """
