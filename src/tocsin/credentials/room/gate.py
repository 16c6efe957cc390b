"""Who may pass now: the page that asks for an address, the request for a link, and the form for a new password.

A process that has opened no room (command line, worker, tests of other things) lets everybody pass and issues nothing.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
from datetime import datetime, timedelta

from django.db import connection

from tocsin.credentials import lease
from tocsin.credentials import policy as passwords
from tocsin.credentials.passwords import hashing
from tocsin.credentials.places import Lane, Place, Stand
from tocsin.kernel import sql
from tocsin.kernel.errors import Busy

from . import policy, state, ticket
from .node import Keeper

RECENT = timedelta(days=30)
LETTER_AGAIN_S_MIN, LETTER_AGAIN_S_MAX = 5.0, 600.0
PASSES = Stand(admitted=True)

_keeper: Keeper | None = None


def open_room() -> Keeper:
    """Open this process's waiting room and keep it ticking; call once at its start."""
    keeper = use(Keeper(f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}", meter=hashing.slots.meter))
    keeper.start()
    return keeper


def use(keeper: Keeper) -> Keeper:
    """Make a room this process's own without a thread: who made it calls its `tick`."""
    global _keeper
    _keeper = keeper
    return keeper


def close_room() -> None:
    """Forget this process's room; everybody passes again."""
    global _keeper
    if _keeper is not None:
        _keeper.stop()
    _keeper = None


def knock(text: str, *, token: str = "", issue: bool = True) -> Stand:
    """Return where the holder of a ticket stands, with a new ticket for whoever has none. Touches memory only: a few microseconds.

    Without a `token` this is the way to a link, and everybody passes while the room is open. With one, only a ticket of that link counts,
    and with `issue` off somebody without one is told to pass: the form itself decides, for it reads the link.
    """
    keeper = _keeper
    if keeper is None or (keeper.open and not text):
        return PASSES
    place = ticket.read(text, binding=(binding := ticket.binding_of(token)), now_ms=keeper.now_ms())
    if place is not None and not token and keeper.stale(place):
        place = None
    if keeper.open:
        return Stand(admitted=True, ticket=text) if place else PASSES
    if place is None:
        if not issue:
            return PASSES
        place = keeper.issue()
        text = ticket.sign(place, binding=binding)
    return _stand(keeper, place, text)


def place_of_request(text: str) -> tuple[Place | None, Stand]:
    """Return the place that a request for a link carries, and where it stands. Whoever waits is not refused: the letter waits for them.

    A ticket that was let through long ago is none any more. How many addresses one admits the database sees to (ask_in_turn).
    """
    keeper = _keeper
    if keeper is None:
        return None, PASSES
    place = ticket.read(text, now_ms=keeper.now_ms())
    if place is not None and keeper.stale(place):
        place = None
    if place is None and (direct := keeper.let_in()):
        return direct, PASSES
    place = place or keeper.issue()
    return place, _stand(keeper, place, ticket.sign(place))


def enter_form(token: str, *, text: str, grant: str, at: datetime) -> Stand | None:
    """Return where the holder of a reset link stands before its form, None for a link that would not work.

    Once let through, a link passes for PASS_LIFE_S whatever happens to the queue, and later again by the place it carries: that of its
    request, or the one written to its row when it was let through. Writes that row only after a wait. Raises Unavailable without a lease.
    """
    lease.check()
    found = sql.prepared("credentials", "room_token", token=ticket.sha256(token), at=at)
    if not found:
        return None
    keeper = _keeper
    factor, ms, nonce, lane = found[0]
    needs = passwords.chars_min(second_factor=factor)
    if keeper is None:
        return Stand(admitted=True, chars_min=needs)
    binding, now_ms = ticket.binding_of(token), keeper.now_ms()
    if ticket.granted(grant, binding=binding, now_ms=now_ms):
        return Stand(admitted=True, grant=grant, chars_min=needs)
    passed = Stand(admitted=True, grant=ticket.grant(binding=binding, now_ms=now_ms), chars_min=needs)
    if ms is not None:
        place = Place(ms, bytes(nonce), Lane(lane))
        return passed if keeper.passes(place) else _stand(keeper, place, ticket.sign(place, binding=binding), chars_min=needs)
    mine = ticket.read(text, binding=binding, now_ms=now_ms)
    if mine is None and keeper.let_in():
        return passed
    place = mine or keeper.issue(_lane_of(token, at=at))
    if not keeper.passes(place):
        return _stand(keeper, place, ticket.sign(place, binding=binding), chars_min=needs)
    if not keeper.open:
        with connection.cursor() as cursor:
            cursor.execute("SELECT credentials_room_keep(%s, %s, %s, %s)", [ticket.sha256(token), place.ms, place.nonce, int(place.lane)])
    return passed


def may_send(token: str, *, text: str, grant: str, at: datetime) -> Stand | None:
    """Return where somebody stands who sends the form: with a pass they pass without a question to the database. Else as `enter_form`."""
    keeper = _keeper
    if keeper is None or ticket.granted(grant, binding=ticket.binding_of(token), now_ms=keeper.now_ms()):
        return Stand(admitted=True, grant=grant)
    return enter_form(token, text=text, grant=grant, at=at)


def keep_place(token: str, *, text: str, grant: str) -> Stand:
    """Return the stand of somebody with a pass who met a full pool: back in some seconds, with everything kept."""
    waiting = sum(_keeper.picture.waiting().values()) if _keeper is not None else 0
    return Stand(
        admitted=False,
        ticket=text,
        grant=grant,
        wait_s=hashing.RETRY_AFTER_S,
        refresh_s=policy.refresh_s(wait_s=0.0, waiting=waiting, jitter=random.random()),  # noqa: S311  # spreads people out, hides nothing
    )


def came_through() -> None:
    """Note that somebody let in has set a password."""
    if _keeper is not None:
        _keeper.came_through()


def wait_for_turn(place: Place) -> None:
    """Let a letter wait until the place of its request is let through: raises Busy with when to ask again. For the worker's job."""
    picture = state.load()
    if not picture.passes(place):
        wait_s = picture.wait_s(place, picture.ahead(place))
        raise Busy("this request waits for its turn", retry_after_s=min(LETTER_AGAIN_S_MAX, max(LETTER_AGAIN_S_MIN, wait_s)))


def _stand(keeper: Keeper, place: Place, text: str, *, chars_min: int = 0) -> Stand:
    if keeper.passes(place):
        return Stand(admitted=True, ticket=text, chars_min=chars_min)
    picture = keeper.picture
    ahead = picture.ahead(place)
    wait_s = picture.wait_s(place, ahead)
    again = policy.refresh_s(wait_s=wait_s, waiting=sum(picture.waiting().values()), jitter=random.random())  # noqa: S311
    return Stand(admitted=False, ticket=text, ahead=ahead, wait_s=wait_s, refresh_s=again)


def _lane_of(token: str, *, at: datetime) -> Lane:
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_room_lane(%s, %s)", [ticket.sha256(token), at - RECENT])
        return Lane(cursor.fetchone()[0] or 0)
