"""Why a case may be closed without an answer. A word of this list and no free text: the reason stands in the log, people's matters do not."""

from __future__ import annotations

REASONS = (
    "unanswerable_address",  # nothing we send arrives
    "thanks",  # kind words that ask nothing
    "asks_nothing",  # empty, or an advertisement
    "answered_elsewhere",  # by telephone, in a branch
)
