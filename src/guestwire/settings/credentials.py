"""
Credentials by the names that other tools taught people to set, and which of them belong together.

An id and a secret are one thing: a pair is taken from one family of names as a whole or not at all, because the id of
one client with the secret of another is a refusal that nobody understands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

#: Ways out that ask for a token before anything else.
OAUTH_TRANSPORTS: Final = frozenset({"openmessaging", "rest-contract"})
#: Fields of a destination that hold credentials.
FIELDS: Final = ("client_id", "client_secret", "access_token")
#: Which variable of other tools means which field; the first family wins.
CREDENTIAL_NAMES: Final[tuple[Mapping[str, str], ...]] = (
    {  # the vendor's command line tool and its Terraform provider
        "client_id": "GENESYSCLOUD_OAUTHCLIENT_ID",
        "client_secret": "GENESYSCLOUD_OAUTHCLIENT_SECRET",
        "access_token": "GENESYSCLOUD_ACCESS_TOKEN",
    },
    {  # the tutorial contract
        "client_id": "GENESYS_CLIENT_ID",
        "client_secret": "GENESYS_CLIENT_SECRET",
    },
)
#: Those among them whose value nobody else may see.
SECRET_NAMES: Final = frozenset(
    name for names in CREDENTIAL_NAMES for field, name in names.items() if field != "client_id"
)


class Found(NamedTuple):
    """A value as one source gave it."""

    value: Any
    source: str
    rank: int
    """Of the source; the lowest number goes first."""


class Family(NamedTuple):
    """What one source says about credentials."""

    client_id: Found | None = None
    client_secret: Found | None = None
    access_token: Found | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it lets anybody in by itself."""
        return self.access_token is not None or (self.client_id is not None and self.client_secret is not None)

    @property
    def given(self) -> dict[str, Found]:
        """What it has, by field."""
        return {field: one for field, one in zip(FIELDS, self, strict=True) if one is not None}

    @property
    def source(self) -> str:
        """Where the first thing that it has comes from."""
        return next(iter(self.given.values())).source

    @property
    def rank(self) -> int:
        """Of its highest source."""
        return min(one.rank for one in self.given.values())


def families_of(found: Mapping[str, Sequence[Found]]) -> list[Family]:
    """
    Part what was found under the names of other tools into families, the first to count first.

    Two files or the environment and a file are two families, even under the same names; but halves that complete each
    other (an id in ``.env``, its secret in the environment) are one.

    Args:
        found: By name of the variable, at most one of each rank.
    """
    families: list[Family] = []
    for names in CREDENTIAL_NAMES:
        by_rank: dict[int, dict[str, Found]] = {}
        for field, name in names.items():
            for one in found.get(name, ()):
                by_rank.setdefault(one.rank, {})[field] = one
        apart = [Family(**fields) for _, fields in sorted(by_rank.items())]
        fields = [field for family in apart for field in family.given]
        if not any(family.is_complete for family in apart) and len(fields) == len(set(fields)) > 1:
            apart = [Family(**{field: one for family in apart for field, one in family.given.items()})]
        families += apart
    return sorted(families, key=lambda family: family.rank)  # stable: of one rank, the order of the names


def difference(winner: Family, other: Family) -> str | None:
    """Say in what two families disagree, without any value; None: in nothing that can be told."""
    for field, words in (
        ("client_id", "names another OAuth client"),
        ("client_secret", "has another secret for the same OAuth client"),
        ("access_token", "has another access token"),
    ):
        one: Found | None = getattr(winner, field)
        two: Found | None = getattr(other, field)
        if one is not None and two is not None and one.value != two.value:
            return f"{one.source} counts; {two.source} {words}"
    return None
