"""
Looking whether a destination would work, before a message depends on it.

Nothing is sent to a guest or an agent: every request either reads, or can be no message. Nothing here shows a secret.

`examination` decides what is asked, after what and for how long; the rooms beside it ask, and say what an answer means:
`configuration`, `network`, `credentials`, `platform`, `webmessaging`, `store`. They share `checks` (what a look found),
`scene` (what it may use), `asking` (its requests) and `refusals` (answers that nobody foresaw).
"""

from guestwire.doctor.checks import Check, Status
from guestwire.doctor.examination import examine
from guestwire.doctor.platform import RECEIVE
from guestwire.doctor.store import examine_store
from guestwire.doctor.webmessaging import is_allowed_origin

__all__ = ["RECEIVE", "Check", "Status", "examine", "examine_store", "is_allowed_origin"]
