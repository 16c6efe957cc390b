"""Mails of people, put in through the mail room, as the tests of the desk need them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from tocsin.kernel import config
from tocsin.mail import actions as mail
from tocsin.staff import actions as staff

ROOT = Path(__file__).parents[2]
ANSWERS = ROOT / "scenarios" / "zappos-2012" / "answers.toml"
AT = datetime(2026, 1, 16, 9, 0, tzinfo=UTC)


def write(sender: str, text: str, *, subject: str = "a question", message_id: str | None = "auto", at: datetime = AT, to: str | None = None,
          references: Sequence[str] = (), headers: dict[str, str] | None = None) -> int:  # fmt: skip
    """Let somebody write to the help address; return the inbound mail's id."""
    to = to or config.current().mail.help_address
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"] = format_datetime(at)
    if message_id is not None:
        ident = f"<{abs(hash((sender, text, subject, at))):x}@people.example>" if message_id == "auto" else message_id
        message["Message-ID"] = ident
    if references:
        message["References"] = " ".join(references)
    for name, value in (headers or {}).items():
        message[name] = value
    message.set_content(text)
    return mail.take_in(message.as_bytes(), envelope_from=sender, envelope_to=[to], at=at)


def team() -> dict[str, Path]:
    """Enrol a support lead and a colleague; return their key files."""
    files = {"lena": staff.add_operator(name="lena", roles=["support_lead"], at=AT, by="owner"),
             "carl": staff.add_operator(name="carl", roles=["communications"], at=AT, by="owner")}  # fmt: skip
    return {name: file for name, file in files.items() if file is not None}


def minutes(n: float) -> datetime:
    """Return the instant so many minutes after AT."""
    return AT + timedelta(minutes=n)


def enrol(*names: str, role: str = "support_lead") -> None:
    """Enrol people of one role."""
    for name in names:
        staff.add_operator(name=name, roles=[role], at=AT, by="owner")
