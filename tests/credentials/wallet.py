"""One customer with a working credential of every class, made through the doors that customers use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from tests.credentials.shop import Customer
from tocsin.credentials import actions, queries
from tocsin.credentials.models import Account, Credential, Epoch
from tocsin.credentials.second import codes, factors, passkeys, software_key, steps
from tocsin.credentials.sign_in import login_of
from tocsin.credentials.types import SignedIn
from tocsin.kernel.private import Private

LINK = "L" * 43


@dataclass(frozen=True)
class Wallet:
    """What a customer holds; the private key stands for the device."""

    customer: Customer
    account: int
    sid: str
    remember_me: str
    refresh: str
    api_token: str
    reset_token: str
    seed: Private[str]
    recovery: tuple[str, ...]
    key: Private[str]

    def code(self, at: datetime) -> str:
        """Return what the app shows."""
        return codes.code_of(self.seed, at=at)

    def ticket(self, at: datetime) -> str:
        """Return a ticket of the second step, as a right password gives one now."""
        account = Account.objects.get(pk=self.account)
        epoch = Epoch.objects.get(population=account.population, cohort=account.cohort, cred_class="session").epoch
        version = Credential.objects.values_list("version", flat=True).get(account=account, cred_class="password")
        classes = ("passkey", "recovery_code", "totp")
        return steps.ticket_for(self.account, epoch=epoch, version=version, classes=classes, at=at).ticket

    def assertion(self, at: datetime) -> tuple[str, str]:
        """Return what a browser answers with the passkey, and the challenge it answers."""
        asked = queries.ask_any_passkey(at=at)
        rp, origin = passkeys.relying_party()
        return software_key.answer(self.key, asked.options, rp_id=rp, origin=origin), asked.challenge


def signed_in(customer: Customer, at: datetime) -> tuple[str, int]:
    """Sign a customer without a second step in; return session id and account."""
    begun = actions.begin_sign_in(customer.email, Private(customer.password), at=at)
    assert isinstance(begun, SignedIn)
    found = queries.session(begun.sid.reveal(), at=at)
    assert found is not None
    return begun.sid.reveal(), found.account


def add_totp(sid: str, account: int, at: datetime) -> Private[str]:
    """Set an authenticator app up, confirmed with the code of the step before, so that the present one still counts."""
    offer = queries.offer_totp(account, at=at)
    actions.add_totp(sid, offer.ticket, codes.code_of(offer.secret, at=at - timedelta(seconds=codes.STEP_S)), account=account, at=at)
    return offer.secret


def add_software_key(sid: str, at: datetime) -> Private[str]:
    """Add a passkey whose private key the test holds."""
    key = software_key.new_key()
    factors.keep(sid, "passkey", software_key.public_key(key), handle=software_key.handle(key), label="software", at=at)
    return key


def fill(customer: Customer, *, at: datetime) -> Wallet:
    """Give a customer one credential of each class."""
    sid, account = signed_in(customer, at)
    assert actions.send_reset(login_of(customer.email), request=uuid4(), token=Private(LINK), at=at)
    return Wallet(
        customer=customer,
        account=account,
        sid=sid,
        remember_me=actions.issue_bearer(sid, "remember_me", label="browser", at=at).reveal(),
        refresh=actions.issue_bearer(sid, "refresh", label="app", at=at).reveal(),
        api_token=actions.issue_bearer(sid, "api_token", label="script", at=at).reveal(),
        reset_token=LINK,
        seed=add_totp(sid, account, at),
        recovery=tuple(c.reveal() for c in actions.new_codes(sid, at=at)),
        key=add_software_key(sid, at),
    )
