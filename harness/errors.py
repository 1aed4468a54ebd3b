"""What can go wrong while measuring, as one small tree.

HarnessError            a sentence for the user; exit code 1
  StartError            a component did not start: which, and its last log lines
  PortTakenError        a port is in use: which, and by whom if known
  BadInputError         the request cannot be carried out as written; exit code 2
"""


class HarnessError(Exception):
    """A run or a trial cannot go on; the message is for the user."""


class StartError(HarnessError):
    """A component did not start."""


class PortTakenError(HarnessError):
    """A port that has to be listened on is in use."""


class BadInputError(HarnessError):
    """What was asked for cannot be done as written."""
