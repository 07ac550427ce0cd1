"""
The settings: what can be set, where it comes from, and what it means.

`tree` is the frozen tree, `sources` decides who wins, `files` reads and writes ``guestwire.toml``, `keys` names every
setting, `values` says what one may hold, and `regions` knows the vendor's hosts. Inside, imports go in this order:
regions, values, tree, keys, files, sources.
"""

from guestwire.settings.files import add_destination, read_secrets, to_toml
from guestwire.settings.keys import Key, known_keys, variable_of
from guestwire.settings.regions import REGIONS, Region, region_of
from guestwire.settings.sources import Loaded, ambient_of, load
from guestwire.settings.tree import (
    CODES,
    LIMITS_OF,
    RETRY_OF,
    VERSION,
    Ambient,
    Destination,
    FileSettings,
    Limits,
    LogSettings,
    PolicySettings,
    RelaySettings,
    ReplyForwarding,
    RetentionSettings,
    RetrySettings,
    Settings,
    SinkSettings,
    StoreSettings,
    TlsSettings,
    ad_hoc,
    choose,
)
from guestwire.settings.values import Misfit, Secret

__all__ = [
    "CODES",
    "LIMITS_OF",
    "REGIONS",
    "RETRY_OF",
    "VERSION",
    "Ambient",
    "Destination",
    "FileSettings",
    "Key",
    "Limits",
    "Loaded",
    "LogSettings",
    "Misfit",
    "PolicySettings",
    "Region",
    "RelaySettings",
    "ReplyForwarding",
    "RetentionSettings",
    "RetrySettings",
    "Secret",
    "Settings",
    "SinkSettings",
    "StoreSettings",
    "TlsSettings",
    "ad_hoc",
    "add_destination",
    "ambient_of",
    "choose",
    "known_keys",
    "load",
    "read_secrets",
    "region_of",
    "to_toml",
    "variable_of",
]
