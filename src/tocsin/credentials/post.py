"""Handing this room's mails to the mail room, and starting the life of a link when the relay has taken its mail."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from tocsin.kernel import config
from tocsin.kernel.private import Private
from tocsin.mail import actions as mail
from tocsin.mail import queries as mail_now

from .letters import Letter
from .models import AffectedAnswer, ResetToken

STARTED = "credentials.tasks.link_handed_over"
HAND_OVER_MAX = timedelta(hours=2)  # a mail that no relay took until then is given up by the mail room


def link_life() -> timedelta:
    """Return how long a mailed link is good after its mail was handed over."""
    return timedelta(minutes=config.current().credentials.link_minutes)


def upper_bound() -> timedelta:
    """Return how long a link is good at most, counted from when it was made: until the hand-over is known, this holds."""
    return HAND_OVER_MAX + link_life()


def queue(letter: Letter, *, purpose: str, to: Private[str], at: datetime, key: str, then: str = "") -> int:
    """Queue a letter in the lane of mail that one person waits for; return its number."""
    return mail.queue_single(
        purpose=purpose,
        to=to,
        subject=letter.subject,
        text=letter.text,
        html=letter.html,
        reply_to=config.current().mail.help_address,
        in_reply_to=None,
        references=(),
        at=at,
        dedupe_key=key,
        urgent=True,
        then=then,
    )


def start_life(outbound: int) -> bool:
    """Let the link of a mail live from the moment the relay took it; tell whether that was news. Safe to repeat."""
    taken = mail_now.outbound_state(outbound).ended_at
    if taken is None:
        return False
    begun = {"handed_over_at": taken, "expires_at": taken + link_life()}
    with transaction.atomic():
        return any(
            model._default_manager.filter(outbound=outbound, handed_over_at=None).update(**begun) for model in (ResetToken, AffectedAnswer)
        )
