"""Writes of the mail room: compile and send notices, single mails out, mail in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tocsin.kernel import clock, config, wiring
from tocsin.kernel.errors import BadInput, Refused
from tocsin.kernel.sealing import key

from . import dkim, policy, template
from .port import Transport
from .sender import journal
from .types import BlockToSend, Envelope, Outcome, Pace, Recipient, Recovery, Template

BLOCK_RECIPIENTS_MAX = 10_000
SIGN_AHEAD = 32  # messages made at once: a signature drives the interpreter out of the caches, see `dkim.Signer.contents`


def compile_template(*, subject: str, text: str, html: str | None = None, reply_to: str | None = None,
                     headers: Mapping[str, str] | None = None) -> Template:
    """Return a notice compiled for `send_block`, from the configured sender. Raises BadInput with all faults.

    Slots are `{{lower_case_name}}` in `text` and `html`, never in header fields. `reply_to` defaults to the configured help address.
    Keep the result: its `digest` belongs into what is approved.
    """
    mail = config.current().mail
    return template.compile_notice(from_name=mail.from_name, from_address=mail.from_address, reply_to=reply_to or mail.help_address,
                                   subject=subject, text=text, html_text=html, headers=headers)


def transport() -> Transport:
    """Return the configured transport. One object asks the server once where it reaches: make one per job."""
    mail = config.current().mail
    made: Transport = wiring.load(mail.transport)(mail.relay_host, mail.relay_port, helo=mail.bounce_domain)
    return made


def verp(block: int, n: int) -> str:
    """Return the bounce address of a recipient: a failure sent to it names the person exactly, and nobody else can make one up."""
    return f"{policy.verp_local(key('verp').reveal(), block, n)}@{config.current().mail.bounce_domain}"


def message_id(recipient_key: str) -> str:
    """Return the Message-ID, with its angle brackets, of whatever is sent under a recipient's `key`: for the evidence of the hand-over."""
    return dkim.message_id(key("message_id").reveal(), recipient_key, config.current().mail.dkim_domain)


def recover(block_id: int, home: Path | None = None) -> Recovery:
    """Return what this machine's journals know of a block: outcomes so far, who is in doubt, which attempts ran here.

    An earlier attempt that is not in `runs` ran elsewhere (or died before its first record): then everybody without an outcome is in doubt.
    """
    return journal.recover(home or config.current().home, block_id)


def in_doubt(block_id: int, home: Path | None = None) -> set[int]:
    """Return the recipients of a block that may have got their message although no reply was read. Name them before `send_block`."""
    return set(recover(block_id, home).in_doubt)


def close_block(block_id: int, home: Path | None = None) -> None:
    """Forget a block's journals. Call after the transaction that holds its outcomes; a crash before this only leaves a file behind."""
    journal.forget(home or config.current().home, block_id)


def send_block(block: BlockToSend, *, transport: Transport, pace: Pace, renew: Callable[[], None], stopped: Callable[[], bool],
               home: Path | None = None) -> Iterator[Outcome]:
    """Send a block and yield one outcome per recipient; fewer if it was stopped, or raised.

    First come the outcomes that earlier runs left in the journal (their text is ""), so that a block whose run was killed is finished, not
    repeated. Raises Refused before anything is sent if the transport's reach does not suit the estate, or if somebody is in doubt whom
    `named_in_doubt` does not list; Unavailable if the transport or the journal's disk fails; what `renew` raises. After any of these, or
    a kill, call `in_doubt`, record it, and call again with the next attempt: nobody is lost, and only the recorded are repeated.
    `stopped` is asked every turn: let it answer from memory. The process needs the keys dkim, message_id and verp.
    """
    place = home or config.current().home
    _check(block)
    wrong = policy.wrong_reach(config.current().estate.kind, transport.reach())
    if wrong:
        raise Refused(wrong)
    known = journal.recover(place, block.id)
    unnamed = known.in_doubt - block.named_in_doubt
    if unnamed:
        raise Refused(f"block {block.id}: {len(unnamed)} recipients may have got their message; record them, then send with named_in_doubt")
    return _send(block, known, transport=transport, pace=pace, renew=renew, stopped=stopped, home=place)


def _send(block: BlockToSend, known: Recovery, *, transport: Transport, pace: Pace, renew: Callable[[], None], stopped: Callable[[], bool],
          home: Path) -> Iterator[Outcome]:
    yield from (known.done[r.n] for r in block.recipients if r.n in known.done)
    unusable: list[Outcome] = []
    with journal.RunJournal(home, block=block.id, attempt=block.attempt) as notes:
        envelopes = _envelopes([r for r in block.recipients if r.n not in known.done], block, unusable)
        with contextlib.closing(transport.deliver(envelopes, pace=pace, journal=notes, renew=renew, stopped=stopped)) as outcomes:  # type: ignore[type-var]
            yield from outcomes
        for outcome in unusable:
            notes.done(outcome.n, outcome.kind, outcome.code, outcome.enhanced, outcome.at_us)
        notes.flush()
        yield from unusable


def _envelopes(recipients: list[Recipient], block: BlockToSend, unusable: list[Outcome]) -> Iterator[Envelope]:
    """Yield signed messages one by one, as connections ask for them; put recipients whose address no server takes into `unusable`."""
    mail = config.current().mail
    signing_key = dkim.load_rsa(key("dkim"))
    signers = [dkim.Signer(t, date=block.date, key=signing_key, domain=mail.dkim_domain, selector=mail.dkim_selector,
                           message_id_key=key("message_id")) for t in block.templates]
    secret, domain = key("verp").reveal(), mail.bounce_domain
    for start in range(0, len(recipients), SIGN_AHEAD):
        usable: list[list[tuple[Recipient, bytes]]] = [[] for _ in signers]
        for recipient in recipients[start:start + SIGN_AHEAD]:
            address = policy.wire_address(recipient.address)
            if address is None:
                unusable.append(Outcome(recipient.n, "bounced", 0, "5.1.3", "the address is malformed", clock.us(clock.now())))
            else:
                usable[recipient.template].append((recipient, address.encode()))
        for signer, lot in zip(signers, usable, strict=True):
            for (recipient, to), content in zip(lot, signer.contents(lot), strict=True):
                yield Envelope(recipient.n, f"{policy.verp_local(secret, block.id, recipient.n)}@{domain}", to.decode(), content)


def _check(block: BlockToSend) -> None:
    """Raise BadInput before the first message if a recipient cannot be served: a block is sent whole."""
    if not 0 < len(block.recipients) <= BLOCK_RECIPIENTS_MAX:
        raise BadInput.of("block.recipients", len(block.recipients), f"1 to {BLOCK_RECIPIENTS_MAX}")
    if len({r.n for r in block.recipients}) != len(block.recipients):
        raise BadInput.of("block.recipients", "the same n twice", "each n once")
    needed = [t.slot_names for t in block.templates]
    for r in block.recipients:
        if not 0 <= r.template < len(needed) or not needed[r.template] <= r.slots.keys():
            raise BadInput.of("block.recipients", f"n = {r.n}", "a template of the block, and a value for each of its slots")
        if any(len(v) > template.SLOT_CHARS_MAX for v in r.slots.values()):
            raise BadInput.of("block.recipients", f"n = {r.n}, a slot value that is too long",
                              f"at most {template.SLOT_CHARS_MAX} characters")
