"""An option: its description on a field of the configuration, for the help, the variables and the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from courier.config.units import STATUSES, YES_NO, OptionType

VARIABLE_PREFIX: Final = "COURIER_"
DAY: Final = 86_400
LONGEST_VISIBILITY: Final = 43_200


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the command line: its group in the help, its flag, the type of its value, and its help text.

    ``help`` is its line in ``--help``, and ``details`` is what ``courier help`` adds to it. ``other_variables`` are
    variables of other programs that count too. A ``repeated`` option may be given several times: its variable holds one
    value a line, and its key in the file a list. Errors never quote a value that ``may_hold_secret``.
    """

    group: str
    flag: str
    kind: OptionType
    help: str
    details: str = ""
    other_variables: tuple[str, ...] = ()
    repeated: bool = False
    may_hold_secret: bool = False

    @property
    def key(self) -> str:
        """The option's key in the TOML file."""
        return self.flag.removeprefix("--")

    @property
    def variables(self) -> tuple[str, ...]:
        """Its variables; the first one that is set and not empty counts."""
        return (VARIABLE_PREFIX + self.key.replace("-", "_").upper(), *self.other_variables)

    def parse(self, value: Any) -> Any:
        """Return a value of the file, converted: a tuple of a list if the option is repeated.

        Raise ValueError, which says what would be right, and never quotes what may be a secret.
        """
        try:
            if self.repeated:
                return tuple(self.kind.parse(each) for each in value)
            return self.kind.parse(value)
        except ValueError as error:
            reason = str(error)
            if self.may_hold_secret:
                for each in value if self.repeated else [value]:
                    reason = reason.replace(repr(each), "the value")
            raise ValueError(reason) from None


def option(
    group: str,
    default: Any,
    flag: str,
    kind: OptionType,
    help_text: str,
    details: str = "",
    *,
    variable: str = "",
    repeated: bool = False,
    may_hold_secret: bool = False,
) -> Any:
    """Return the dataclass field of an option; ``variable`` is a variable of another program that counts too."""
    others = (variable,) if variable else ()
    described = Option(group, flag, kind, help_text, details, others, repeated, may_hold_secret)
    return field(default=default, repr=not may_hold_secret, metadata={"option": described})


def type_problem(value: Any, option: Option) -> str:
    """Return which type an option needs in the file if its value has another type; empty if the type is right."""
    if option.repeated:
        right = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if right else "a list of strings"
    if option.kind is STATUSES and isinstance(value, list):
        return f'a string like "{",".join(map(str, value)) or "200-299"}"'
    if isinstance(value, bool):
        return "" if option.kind is YES_NO else "a string or a number"
    return "" if isinstance(value, (str, int, float)) else "a string or a number"
