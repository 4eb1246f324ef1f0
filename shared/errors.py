"""The errors of Leadpact, told apart by what the one who catches them should do."""

from __future__ import annotations


class LeadpactError(Exception):
    """An error of ours. `code` is stable and machine-readable; the message is for a person.

    Messages name places and rules, never a lead's personal data: they are logged.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Refused(LeadpactError):
    """Never again: the input is at fault, and trying once more would give the same answer."""


class Later(LeadpactError):
    """Retry: something outside is away or busy. `after_s` is how long to wait, in seconds."""

    def __init__(self, code: str, message: str, *, after_s: float = 1.0) -> None:
        super().__init__(code, message)
        self.after_s = after_s


class Broken(LeadpactError):
    """Stop: going on would do harm, or cannot work until a person acts."""


class WrongSetting(Broken):
    """A setting is missing or wrong; `key` is its name. Stops the start."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__("wrong_setting", f"{key}: {message}")
        self.key = key
