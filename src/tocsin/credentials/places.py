"""Values of the waiting room. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tocsin.kernel.errors import Busy

TICKET_NONCE_BYTES = 8  # random bytes of a ticket; the first two order the places of one second


class Lane(IntEnum):
    """Where somebody waits; the numbers stand in tickets and rows and are never reused."""

    REGULAR = 0
    RECENT = 1  # signed in within the last 30 days; known only once there is a reset link
    ASSISTED = 2  # sent by the desk, with a ticket that the desk issued


# While several lanes wait, each gets its weight's share of the rate; an empty lane's share goes to the others.
WEIGHTS = {Lane.REGULAR: 6, Lane.RECENT: 3, Lane.ASSISTED: 1}


class Slowed(Busy):
    """Too many wrong passwords in a row for a login; the same for every login, known or not."""


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody's place: milliseconds since 1970 of the ticket, and 16 random bits that order people of one second."""

    ms: int
    nonce: bytes
    lane: Lane

    @property
    def second(self) -> int:
        """Return the second whose bucket this place is counted in."""
        return self.ms // 1000

    @property
    def fraction(self) -> int:
        """Return the 16 bits that order the places of one second."""
        return int.from_bytes(self.nonce[:2], "big")

    @property
    def position(self) -> float:
        """Return the place as a number: its second and, behind the point, its fraction. Exact in a double: 31 and 16 bits."""
        return self.second + self.fraction / 65_536


@dataclass(frozen=True, slots=True)
class Stand:
    """Where somebody stands: `ticket` and `grant` (a pass) are texts for cookies, empty where there is none to keep.

    `chars_min`: of somebody let in to the form, how many characters a new password needs.
    """

    admitted: bool
    ticket: str = ""
    grant: str = ""
    ahead: int = 0
    wait_s: float = 0.0
    refresh_s: int = 0
    chars_min: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request came from: the peer's address and the X-Forwarded-For header as they arrived, neither trusted."""

    peer: str = ""
    forwarded: str = ""


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One lane: people waiting, admitted since the room was last empty, its watermark (seconds since 1970)."""

    lane: str
    waiting: int
    admitted: int
    watermark: float


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """The gauge of the console. Rates are per second; `oldest_wait_s` is the age of the oldest place that still waits."""

    open: bool
    waiting: int
    admitted_per_s: float
    oldest_wait_s: float
    rate_per_s: float
    capacity_per_s: float
    hashes_per_s: float
    write_rate_per_s: float | None
    show_up: float
    wait_p95_ms: float
    nodes: int
    lanes: tuple[LaneStatus, ...]


@dataclass(frozen=True, slots=True)
class ResetCapacity:
    """What pacing needs: resets per second that can be borne, people waiting, people admitted per second, the pool's wait.

    `mail_per_s`: how many notices a second keep what they bring in (policy.CLICK_RATE) within policy.MAIL_SHARE of that.
    """

    per_s: float
    mail_per_s: float
    waiting: int
    admitted_per_s: float
    wait_p95_ms: float
