"""Another address for an account: asked for with the password shown again, made so by a link to the new address, told to both.

The public process checks session and password, seals the address for the worker and leaves a wish; it learns nothing of whether the
address is somebody's. The worker mails the link, and once it was followed changes the register and the login in one transaction with the
letters to the old and the new address. A cutover freezes all of it (`[credentials] contact_freeze_h`): an intruder's first act in an
account is to move its mailbox. Where a crash leaves it: before that transaction nothing happened and the job runs again; after it a second
run finds the wish done. Source: ASVS 5.0 7.5.1 (re-authentication), 6.3.7 (notice).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db import transaction

from tocsin.kernel import clock, config, sql
from tocsin.kernel.errors import BadInput, Fault, NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import deposit, open_deposit
from tocsin.subjects import actions as register
from tocsin.subjects import queries as subjects

from . import contact_letters, dry_run, lease, letters, policy, post
from .models import Account, ContactRequest
from .passwords import hashing
from .room import limits
from .sign_in import digest, login_of
from .types import CONTACT_LINK_LIFE, PASSWORD_BYTES_MAX, SESSION_LIFE, TOKEN_SHAPE

CONFIRM_PATH = "/account/email/t/"


def contacts_frozen_until(at: datetime) -> datetime | None:
    """Return until when no address of an account can be changed, None if nothing forbids it: the same for everybody."""
    return subjects.contacts_frozen_until(at)


def ask_contact_change(sid: str, password: Private[str], email: str, *, at: datetime) -> None:
    """Ask for another address for the account of a session. Says nothing about whether somebody has that address already.

    Raises BadInput for a wrong password or what is no address, Refused while a freeze lasts, NotFound without a live session, Slowed after
    too many wrong passwords in a row (here or at the sign-in), Busy when all hashing slots are taken, Unavailable without a lease. At most
    three an hour and account: further ones are dropped.
    """
    lease.check()
    if until := contacts_frozen_until(at):
        raise Refused(f"addresses cannot be changed until {clock.iso(until)}: passwords have just been ended")
    if not policy.looks_like_address(email):
        raise BadInput(Fault("email", f"{len(email)} characters", "an e-mail address like name@example.org"))
    if len(password.reveal().encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
        raise BadInput.of("password", "a very long text", f"at most {PASSWORD_BYTES_MAX} bytes")
    found = sql.rows("credentials", "own_password", sid=digest(sid), oldest=at - SESSION_LIFE)
    if not found:
        raise NotFound("nobody is signed in")
    _, version, stored, login = found[0]
    mine = limits.origin(bytes(login), None, trusted=True)
    with hashing.slots.slot():
        limits.reserve_try(bytes(login), at=at, origin=mine)  # a borrowed session must not be a place to guess the password at
        right = hashing.matches(stored, password, ours=version > 0)
    if not right:
        raise BadInput(Fault("password", "another one", "the password of this account"))
    lease.check()
    limits.forget_tries(bytes(login), at=at, origin=mine)
    request = uuid4()
    sealed = deposit(email.strip().encode(), context=_context(request))
    sql.rows("credentials", "ask_contact", sid=digest(sid), version=version, request=request, deposit=sealed, at=at)


def confirm_contact_change(token: str, *, at: datetime) -> None:
    """Confirm another address with the link that was mailed to it; the worker carries it out. Raises NotFound for a link that is dead."""
    lease.check()
    confirmed = TOKEN_SHAPE.fullmatch(token) and sql.rows("credentials", "confirm_contact", token=digest(token), at=at)[0][0]
    if not confirmed:
        raise NotFound("this link was used, or has expired")


def send_contact_link(request: UUID, *, token: Private[str], at: datetime) -> bool:
    """Mail the link to the new address; tell whether it was sent. Its life starts at `at`.

    Not sent, and nobody is told why: contact points are frozen, the password has changed since, the address signs another account in.
    """
    with transaction.atomic():
        wish = _locked(request)
        standing = _standing(wish, at=at) if wish is not None and wish.token_sha256 is None else None
        if wish is None or standing is None:
            return False
        email = _address(wish)
        if Account.objects.filter(population_id=wish.account.population_id, login_hmac=login_of(email.reveal())).exists():
            return False
        wish.token_sha256, wish.expires_at = digest(token.reveal()), at + CONTACT_LINK_LIFE
        wish.save(update_fields=["token_sha256", "expires_at"])
        current = config.current()
        letter = contact_letters.confirm_letter(
            brand=current.company.brand,
            link=f"{current.web.public_url.rstrip('/')}{CONFIRM_PATH}{token.reveal()}",
            minutes=int(CONTACT_LINK_LIFE.total_seconds() // 60),
            help_address=current.mail.help_address,
            language=_language(standing[0]),
        )
        post.queue(letter, purpose="contact_confirm", to=email, at=at, key=f"contact:{request}")
        return True


def change_contact(request: UUID, *, at: datetime) -> bool:
    """Carry a confirmed wish out: register, login, and letters to the old and the new address; tell whether it was done.

    Not done if contact points were frozen meanwhile, the password has changed, or another account took the address.
    """
    with transaction.atomic():
        wish = _locked(request)
        if wish is None or wish.confirmed_at is None or wish.done_at is not None:
            return False
        standing = _standing(wish, at=at)
        email, account = _address(wish), wish.account
        login = login_of(email.reveal())
        taken = Account.objects.filter(population_id=account.population_id, login_hmac=login).exclude(pk=account.pk).exists()
        wish.done_at, wish.deposit = at, b""  # carried out or void: the address is kept no longer than that
        wish.save(update_fields=["done_at", "deposit"])
        if standing is None or taken:
            return False
        subject, incident = standing
        before = [p.address for p in subjects.contactables([subject])]
        register.change_contact(subject, kind="email", value=email, at=at, by="customer", reauthenticated=True, incident=incident)
        Account.objects.filter(pk=account.pk).update(login_hmac=login)
        current = config.current()
        said = {
            "brand": current.company.brand,
            "site": f"{current.web.public_url.rstrip('/')}/passwordchange",
            "help_address": current.mail.help_address,
            "language": _language(subject),
        }
        for n, to in enumerate(before):
            post.queue(
                contact_letters.changed_letter(**said, old=True), purpose="contact_changed", to=to, at=at, key=f"contact:{request}:old{n}"
            )
        post.queue(
            contact_letters.changed_letter(**said, old=False), purpose="contact_changed", to=email, at=at, key=f"contact:{request}:new"
        )
        return True


def tell_former_addresses(subject: int, *, version: int, at: datetime) -> int:
    """Tell the addresses that somebody had at the first possible entry or since, that the password was changed; return how many.

    Joins the caller's transaction. Without a known incident behind the last cutover nobody is told: an old mailbox may be a stranger's by now.
    """
    account = Account.objects.filter(population__name="customers", subject=subject).first()
    found = sql.rows("credentials", "contact_version", account=account.pk) if account is not None else []
    since = dry_run.first_entry(found[0][2]) if found else None
    if since is None:
        return 0
    current = config.current()
    letter = contact_letters.former_letter(
        brand=current.company.brand,
        site=f"{current.web.public_url.rstrip('/')}/passwordchange",
        help_address=current.mail.help_address,
        language=_language(subject),
    )
    former = subjects.former_contacts(subject, since=since)
    for n, old in enumerate(former):
        post.queue(letter, purpose="password_changed", to=old.address, at=at, key=f"changed:{subject}:{version}:former{n}")
    return len(former)


def _locked(request: UUID) -> ContactRequest | None:
    return ContactRequest.objects.select_for_update(no_key=True, of=("self",)).select_related("account").filter(pk=request).first()


def _standing(wish: ContactRequest, *, at: datetime) -> tuple[int, int | None] | None:
    """Return subject and incident if the wish still stands: nothing frozen, the password alive and the one that was shown."""
    if wish.asked_at < at - timedelta(days=1) or subjects.contacts_frozen_until(at):
        return None
    found = sql.rows("credentials", "contact_version", account=wish.account_id)
    if not found or found[0][0] != wish.version or found[0][1] is None:
        return None
    return int(found[0][1]), found[0][2]


def _language(subject: int) -> str:
    """Return the language we write in to a person; the company's own to one who has no address left."""
    return next((letters.language_of(p.locale) for p in subjects.contactables([subject])), letters.language_of(""))


def _address(wish: ContactRequest) -> Private[str]:
    return Private(open_deposit(wish.deposit, context=_context(wish.pk)).reveal().decode())


def _context(request: UUID) -> str:
    return f"credentials_contactrequest|{request}"
