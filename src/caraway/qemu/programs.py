"""Programs that Caraway starts but does not bring along, and what to type when one is missing."""

import shutil
from collections.abc import Sequence

from caraway.errors import CarawayError


class MissingProgramError(CarawayError):
    """A program that is needed is not installed; says the one command that installs it."""


def find_program(names: Sequence[str], purpose: str, install: str) -> str:
    """Return the path of the first of `names` that PATH holds.

    purpose: what the program is needed for, the end of "X is needed to ...".
    install: the command that installs it.
    Raises MissingProgramError.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    raise MissingProgramError(f"{names[0]} is needed to {purpose} and is not installed; install it with: {install}")
