"""Sends one block: claim, name who is in doubt, send, write down. The heart of the room.

Steps, what is durable after each, and what a kill there costs:
    1  claim     One transaction: lease, fence, attempt, connections held, the attempt noted as unsettled.
                 Kill: the next claim finds that nothing was sent.
    2  recover   Only if an earlier attempt is unsettled. Wait until its sender cannot be sending any more. One transaction: the outcomes
                 that its journal holds, and one evidence entry for each recipient in doubt; then the journals are closed. Kill: done again.
    3  send      `mail.send_block`: an intent in the journal before each final dot. Once a second, and before it goes further than it
                 announced, the sender ships its outcomes and how far it goes now to the database. Kill: step 2 of the next claim.
    4  settle    One transaction, at the end and every SETTLE_S: fenced write of the block, receipt, one evidence entry per recipient
                 handed over (and per account merged into it), exceptions, counts. Kill before: as 3. Kill after: nothing.
    5  close     The block's journals are removed. Kill before: they are read again and found settled.
The fence stands first in every transaction: a frozen sender that wakes up matches no row and writes nothing.

Who is in doubt. After the death of a process: the open intents of its journal, one per connection at most. After the loss of a machine, or
a power cut (a journal may then lack its last tenth of a second; the machine's boot tells): whoever was announced and has no shipped
outcome. That is per block at most what was sent in the last second and what was announced: 8 per connection or AHEAD_S of the lane's rate,
whichever is more, and never more than the block. Each is named before it is sent again.

Whose turn it is. Leases are dated by the database's clock, and clocks are set. So a lease that ran out proves nothing about its holder:
whoever raises the fence over an unsettled attempt waits until that attempt's process is gone (the lock on its journal, on this machine) or
OUTLAST_S have passed by a clock that nobody sets, within which every sender renews its lease or stops (`mail.sender.engine`).
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.incidents import queries as incidents
from tocsin.kernel import canonical, clock, config, jobs, sql
from tocsin.kernel.errors import Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import lookup_digest
from tocsin.mail import actions as mail
from tocsin.mail import queries as mail_now
from tocsin.mail.types import LEASE_AGE_S_MAX, BlockToSend, Heard, Outcome, Pace, Quota, ReceiverNow, Recipient
from tocsin.subjects import queries as subjects
from tocsin.subjects.types import Contactable

from . import casecode, frozen, lanes, policy
from .models import Batch, Lane, Mailing, Merged, Receipt, RecipientException, Shipped
from .text.elements import element_words
from .types import MailingState, Retry

ACTOR = "sender"
JOB = "notices.tasks.send_next"
FINISH = "notices.tasks.finish"
LOOK_S = 0.5  # how old the sender's knowledge of stop flag and pace may be
SETTLE_S = 10.0  # a slow block writes down what it has that often
BUSY_S = 1.0  # no connection of the lane is free
SHIP_S = 1.0  # an outcome is in the database at most so long after the next one came
OUTLAST_S = LEASE_AGE_S_MAX + 1.0  # a holder that lost its fence sends nothing after this
OUTLAST_LOOK_S = 0.05
WARM_UP_S = 300.0  # the day's part of a warm-up is used up
SHAPED_MAX = 1_000  # at this many connections a receiver has no limit of its own
QUOTA_S = 60.0  # a relay's daily quota is used up
DAY = timedelta(days=1)
HELD_LANE_S = 5.0  # a lane of rate 0
RETRY_MARGIN_S = 0.1  # a job that comes a moment before its time finds no block
NAMELESS = "customer"
# What the promise rests on, as the log states it when a mailing starts. Of a lost machine: for each block it held, what was sent in
# `shipped_ms` and what was announced, the more of `announced_ms` of the lane's rate and so many per connection; never more than a block.
DOUBT_MAX = {
    "killed_process": {"per_connection": 1},
    "lost_machine": {
        "shipped_ms": int(SHIP_S * 1000),
        "announced_ms": int(policy.AHEAD_S * 1000),
        "announced_per_connection": policy.AHEAD_PER_CONNECTION,
        "per_block": policy.BLOCK_ROWS,
    },
}
FREE_AT = datetime(1970, 1, 1, tzinfo=UTC)  # a lease that is over


def code_key() -> bytes:
    """Return the key of the case codes, derived from the estate's look-up key."""
    return lookup_digest("case-code/1", purpose="notices")


BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")


def machine() -> str:
    """Return the name of this machine's journals: made once, lost with them, so that lost journals are never taken for empty ones.

    It ends in the name of the machine's boot: after a power cut what a journal does not hold may have happened all the same.
    GAP: a system without BOOT_FILE does not notice a power cut; what its disk did not take by then may be repeated without its name.
    Raises Unavailable if the folder cannot be written.
    """
    file: Path = config.current().home / "journal" / "machine"
    boot = BOOT_FILE.read_text().strip() if BOOT_FILE.exists() else ""
    try:
        return f"{_made_once(file)}/{boot}"
    except OSError as e:
        raise Unavailable("journal", f"{file} cannot be written: {e.strerror}") from e


def _made_once(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = file.with_name(f".machine.{secrets.token_hex(4)}")
        made.write_text(secrets.token_hex(16))
        try:
            file.hardlink_to(made)
        except FileExistsError:
            return file.read_text()
        finally:
            made.unlink()
        return file.read_text()


def again(mailing: int, lane: int, *, after_s: float = 0) -> None:
    """Enqueue the lane's next job, if none waits. Joins the caller's transaction."""
    jobs.enqueue(JOB, after_s=after_s, unless_waiting=f"notices-{mailing}-{lane}", mailing=mailing, lane=lane)


class Brake:
    """Tells a running block to stop: mailing held, rate changed, or more sent than the lane's bucket gave. Looks every LOOK_S seconds."""

    def __init__(self, lane: int, rate_per_s: float, connections: int, receiver: tuple[str, float] | None = None) -> None:
        self.lane, self.rate_per_s, self.receiver = lane, rate_per_s, receiver
        self.overdraft = max(float(connections), rate_per_s * LOOK_S)
        self.sent = 0
        self.on = False
        self.wait_s = 0.0
        self._looked_at = clock.monotonic()

    def __call__(self) -> bool:
        """Return whether to stop, from memory or, every LOOK_S, from the database."""
        if not self.on and clock.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = clock.monotonic()
            self.look()
        return self.on

    def look(self) -> None:
        """Debit what was sent, and read how things stand."""
        tokens, rate, state = take(self.lane, self.sent, self.rate_per_s, receiver=self.receiver)
        self.sent = 0
        overdrawn = rate < policy.UNLIMITED_PER_S and tokens < -self.overdraft
        self.on = state != MailingState.SENDING or rate != self.rate_per_s or overdrawn
        self.wait_s = -tokens / rate if overdrawn and rate > 0 else 0.0


def shared_rate(provider: str, receiver: ReceiverNow) -> tuple[str, float] | None:
    """Return a receiver and the rate that holds for everything sent to it; None if there is no such rate now."""
    return (provider, receiver.rate_per_s) if 0 < receiver.rate_per_s < policy.UNLIMITED_PER_S else None


def take(lane: int, sent: int, rate_per_s: float, *, receiver: tuple[str, float] | None = None) -> tuple[float, float, str]:
    """Debit a lane's bucket, and its receiver's; return (tokens, rate, state of the mailing), tokens of the emptier. An unlimited lane is
    only read.
    """
    name = "look" if rate_per_s >= policy.UNLIMITED_PER_S else "take_tokens"
    params: dict[str, Any] = {"lane": lane} if name == "look" else {"lane": lane, "sent": sent}
    (row,) = sql.rows("notices", name, **params)
    tokens = float(row[0])
    if receiver is not None:
        tokens = min(tokens, mail.take(receiver[0], sent, rate_per_s=receiver[1]))
    return tokens, float(row[1]), str(row[2])


def send_next(mailing: int, lane: int, *, at: datetime) -> int:
    """Claim the next free block of a lane and send it; return how many recipients got an outcome. 0: nothing to do now.

    Safe to run any number of times at once. Raises Refused (and stops the mailing) when what would go out is not what was signed;
    Unavailable when the relay fails: what was done by then is written down first; LostLease when the block is another's by now.
    """
    found = Mailing.objects.get(pk=mailing)
    if found.state != MailingState.SENDING:
        return 0
    try:
        plan = frozen.plan_of(found)
        claimed = _claim(mailing, lane)
        if claimed is None:
            return 0
        batch, earlier, allowed = claimed
        block = Block(found, Lane.objects.get(pk=lane), batch, plan)
        frozen.check_block(plan, batch, variant=block.variant, provider=block.lane.provider)
        block.recover(earlier)
        return block.send(at, allowed=allowed)
    except Refused as e:
        hold(mailing, MailingState.STOPPED, at=at, by=ACTOR, why=e.rule)
        raise


def hold(mailing: int, state: MailingState, *, at: datetime, by: str, why: str) -> bool:
    """Pause or stop a mailing that is being sent; return whether it was. Senders see it within LOOK_S."""
    with transaction.atomic():
        found = Mailing.objects.filter(pk=mailing, state__in=[MailingState.SENDING, MailingState.PAUSED]).exclude(state=state)
        if not found.update(state=state, held_at=at):
            return False
        incident = Mailing.objects.values_list("incident", flat=True).get(pk=mailing)
        body = {"mailing": mailing, "state": state.value, "why": why}
        evidence.record(EventType.MAILING_STOPPED, at=at, actor=by, incident=incident, body=body)
    return True


def _claim(mailing: int, lane: int) -> tuple[Batch, list[dict[str, Any]], int | None] | None:
    """Lease a block with as many connections as lane and mailing have left, and say how many of it the relay's quota lets out.

    None if there is no block, no connection, or nothing left of the quota now.
    """
    with transaction.atomic():
        held_by = Mailing.objects.select_for_update(no_key=True).get(pk=mailing)
        limits = Lane.objects.get(pk=lane)
        if held_by.state != MailingState.SENDING:
            return None
        receiver = mail_now.receiver_now(limits.provider, at=clock.now())
        if limits.held_until is not None or receiver.memory != mail_now.receiver_memory(limits.memory):
            lanes.refresh(lane, at=clock.now())
            limits.refresh_from_db()
        if limits.rate_now == 0 or receiver.rate_per_s == 0:
            again(mailing, lane, after_s=HELD_LANE_S)
            return None
        if receiver.left_of_day is not None and receiver.left_of_day < 1:
            again(mailing, lane, after_s=WARM_UP_S)
            return None
        # Counted over everything that leaves: other mailings too, and single mails, which have one connection for themselves.
        ((all_held, lane_held),) = sql.rows("notices", "held", provider=limits.provider)
        singles = {"lane": mail_now.singles_open(limits.provider), "all": mail_now.singles_open()}
        lane_held, all_held = int(lane_held) + singles["lane"], int(all_held) + singles["all"]
        reserved = 1 if not singles["lane"] and receiver.connections < SHAPED_MAX and receiver.connections > 1 else 0
        free = {
            "lane_cap": min(limits.connections_now, receiver.connections - reserved),
            "mailing_cap": held_by.connections,
        }
        connections = policy.connections_for_block(lane_held=lane_held, mailing_held=all_held, **free)
        if not connections:
            again(mailing, lane, after_s=BUSY_S)
            return None
        tokens, rate, _ = take(lane, 0, limits.rate_now, receiver=shared_rate(limits.provider, receiver))
        if rate < policy.UNLIMITED_PER_S and tokens < 0:
            again(mailing, lane, after_s=min(HELD_LANE_S, max(0.1, -tokens / rate)))
            return None
        per_day, left = quota_now()
        if per_day is not None and left < 1:
            again(mailing, lane, after_s=QUOTA_S)
            return None
        batch = jobs.claim(Batch.objects.filter(mailing_id=mailing, lane_id=lane, locked=0))
        if batch is None:
            return None
        earlier = list(batch.unsettled)
        batch.connections = connections
        untouched = not earlier and not batch.tried  # then the first to be sent to are the first places
        first = min(batch.n, _window(limits, connections)) - 1 if untouched else -1
        batch.unsettled = [*earlier, {"attempt": batch.attempt, "machine": machine(), "ahead": first}]
        batch.save(update_fields=["connections", "unsettled"])
        more = policy.connections_for_block(lane_held=lane_held + connections, mailing_held=all_held + connections, **free)
        if more and free_blocks(lane):
            again(mailing, lane)
        most = [n for n in (left if per_day is not None else None, receiver.left_of_day) if n is not None]
        return batch, earlier, min(most, default=None)


_took: dict[int, float] = {}  # lane: messages per second that the last block of this process brought


def _window(lane: Lane, connections: int) -> int:
    return policy.ahead(per_s=min(_took.get(lane.pk, 0.0), lane.rate_now), connections=connections)


def quota_now() -> tuple[int | None, int]:
    """Return the relay's quota for 24 hours (None: none) and how much of it is left; what leases hold counts as sent. Raises Unavailable."""
    per_day = _quota().per_day
    if per_day is None:
        return None, 0
    ((used, held),) = sql.rows("notices", "used_of_day", since=clock.now() - DAY)
    return per_day, max(0, per_day - int(used) - int(held))


@functools.lru_cache(maxsize=1)
def _asked(minute: int) -> Quota:
    return mail_now.quota()


def _quota() -> Quota:
    """Return what the relay grants, asked once a minute."""
    return _asked(int(clock.monotonic() // 60))


def free_blocks(lane: int) -> bool:
    """Return whether a block of the lane can be claimed now."""
    return Batch.objects.filter(lane_id=lane, state="open", lease_until__lte=Now(), locked=0).exists()


class Block:
    """A block under our lease, with what is known of its recipients."""

    def __init__(self, mailing: Mailing, lane: Lane, batch: Batch, plan: frozen.Plan) -> None:
        self.mailing, self.lane, self.batch, self.plan = mailing, lane, batch, plan
        self.began_at, self.n_tried = clock.monotonic(), 0
        self.retry = Retry(first_s=mailing.retry_first_s, tries_max=mailing.retry_tries_max)
        self.variant = batch.variant.key
        self.locale = batch.variant.locale
        self.wants_elements = "elements" in plan.templates[self.variant].slot_names
        self.tried = policy.places(bytes(batch.tried))
        self.doubted = policy.places(bytes(batch.doubted))
        self.deferred = {x.place: x for x in RecipientException.objects.filter(batch=batch, state="deferred")}
        self.ranks = {place: x.rank for place, x in self.deferred.items() if x.rank}
        self.people: dict[int, Contactable] = {}
        self.further: dict[int, Private[str]] = {}
        self.salts: dict[int, bytes] = {}
        self.rendered: dict[int, str] = {}
        accounts: dict[int, list[int]] = {}
        if mailing.merged:
            for told_with, subject in Merged.objects.filter(mailing=mailing, told_with__in=batch.subjects).values_list(
                "told_with", "subject"
            ):
                accounts.setdefault(told_with, []).append(subject)
        self.accounts: Mapping[int, list[int]] = accounts
        self.due: list[int] = []  # in the order in which they are sent to
        self.ahead = -1  # the database knows that places up to this one are sent to
        self.unshipped: list[Outcome] = []
        self.shipped_at = 0.0
        self.named: set[int] = set()  # in doubt by this very attempt, and named

    # -- step 2 ----------------------------------------------------------------------------------------------------------------------

    def recover(self, earlier: list[dict[str, Any]]) -> None:
        """Write down what unsettled attempts did, and name whoever may have got the notice from them. Commits; then closes the journals."""
        if earlier:
            self._outlast(earlier)
            attempts = [e["attempt"] for e in earlier]
            shipped = list(Shipped.objects.filter(batch=self.batch, attempt__in=attempts).order_by("pk"))
            known = mail.recover(self.batch.pk, attempts=attempts, shipped=[bytes(x.records) for x in shipped])
            waiting = set(range(self.batch.n)) - self.tried | self.deferred.keys()
            done = [o for o in map(self._placed, known.done.values()) if o.n in waiting and self._is_news(o)]
            # A journal file is made before the first byte goes out, so an attempt of this machine that has none sent nothing.
            doubt = {policy.place_of(n)[0] for n in known.in_doubt}
            lost = [e for e in earlier if e["machine"] != machine()]
            for e in lost:
                last = max([e.get("ahead", self.batch.n), *(x.ahead for x in shipped if x.attempt == e["attempt"])])
                doubt |= set(range(last + 1))
            doubt = (doubt & waiting) - {o.n for o in done}
            self.salts = subjects.salts([s for n in {o.n for o in done} | doubt for s in self._told(n)])
            with transaction.atomic():
                current = [{"attempt": self.batch.attempt, "machine": machine(), "ahead": -1}]
                self._write(done, changes={"unsettled": current}, doubt=doubt, attempts=attempts, at=clock.now(), lost=bool(lost))
            self._remember(done, doubt)
        mail.close_block(self.batch.pk)

    def _outlast(self, earlier: list[dict[str, Any]]) -> None:
        """Wait until no sender of an earlier attempt can be sending any more."""
        elsewhere = any(e["machine"] != machine() for e in earlier)
        until = clock.awake() + OUTLAST_S
        while (elsewhere or mail.is_being_sent(self.batch.pk)) and clock.awake() < until:
            time.sleep(OUTLAST_LOOK_S)

    def _is_news(self, o: Outcome) -> bool:
        """Return whether an outcome of an unsettled attempt was not settled: an attempt gives each recipient one outcome."""
        before = self.deferred.get(o.n)
        return before is None or o.at_us != clock.us(before.tried_at)

    # -- step 3 ----------------------------------------------------------------------------------------------------------------------

    def send(self, at: datetime, *, allowed: int | None = None) -> int:
        """Send to everybody who waits or whose time has come again, to at most `allowed`; settle; return how many got an outcome."""
        due = [n for n in range(self.batch.n) if n not in self.tried or self._is_due(n, at)][:allowed]
        recipients, gone = self._recipients(due, clock.us(at))
        self.due = [policy.place_of(r.n)[0] for r in recipients]
        self.ahead = self.batch.unsettled[-1]["ahead"]
        receiver = mail_now.receiver_now(self.lane.provider, at=clock.now())
        shared = shared_rate(self.lane.provider, receiver)
        rate = min(self.lane.rate_now, shared[1] if shared else self.lane.rate_now)
        brake = Brake(self.lane.pk, self.lane.rate_now, self.batch.connections, shared)
        self.began_at, self.n_tried = clock.monotonic(), 0
        trouble: Refused | Unavailable | None = None
        unsaved, total, saved_at, loud = gone, len(gone), clock.monotonic(), False
        self.unshipped, self.shipped_at = [], saved_at
        try:
            for outcome in self._outcomes(recipients, brake, at, rate_per_s=rate, per_connection=receiver.messages_per_connection):
                unsaved.append(outcome)
                self.unshipped.append(outcome)
                brake.sent += 1
                total += 1
                loud = loud or (outcome.kind != "handed_over" and mail_now.speaks_of_us(outcome.code, outcome.enhanced))
                now = clock.monotonic()
                if now - saved_at >= (LOOK_S if loud else SETTLE_S):
                    self.settle(unsaved)
                    unsaved, saved_at = [], clock.monotonic()
                    if loud:
                        brake.look()  # the lane may have been paused by what was just written down
                    loud = False
                elif now - self.shipped_at >= SHIP_S:
                    self.ship()
        except (Refused, Unavailable) as e:
            trouble = e
            unsaved += self._left(unsaved)
        brake.look()
        self.settle(unsaved, ended=True, wait_s=brake.wait_s, successor=trouble is None)
        mail.close_block(self.batch.pk)
        if trouble:
            raise trouble
        return total

    def _outcomes(
        self, recipients: list[Recipient], brake: Brake, at: datetime, *, rate_per_s: float, per_connection: int
    ) -> Iterator[Outcome]:
        if not recipients:
            return iter(())
        block = BlockToSend(
            id=self.batch.pk,
            attempt=self.batch.attempt,
            templates=[self.plan.templates[self.variant]],
            recipients=recipients,
            date=at,
            named_in_doubt=frozenset(map(self._number, self.doubted)),
        )
        pace = Pace(min(self.batch.connections, len(recipients)), min(self.lane.messages_per_connection, per_connection), rate_per_s)
        sent = mail.send_block(
            block, transport=mail.transport(), pace=pace, renew=lambda: jobs.renew(self.batch), stopped=brake, announce=self.announce
        )
        return map(self._placed, sent)

    def _number(self, place: int) -> int:
        """Return the number under which a place is sent: a further address of the person has one of its own."""
        return policy.wire_number(place, self.ranks.get(place, 0))

    def _placed(self, o: Outcome) -> Outcome:
        return o if o.n < policy.BLOCK_PLACES else o._replace(n=policy.place_of(o.n)[0])

    def announce(self, n: int) -> None:
        """See to it that the database knows before somebody is sent to; `n` as on the wire. Raises LostLease."""
        place = policy.place_of(n)[0]
        if place <= self.ahead:
            return
        last = self.due.index(place) + _window(self.lane, self.batch.connections) - 1
        self.ahead = self.due[min(last, len(self.due) - 1)]
        self.ship()

    def ship(self) -> None:
        """Bring what is not settled yet, and how far the sender goes, to where the loss of this machine does not reach. Raises LostLease."""
        unshipped = [o._replace(n=self._number(o.n)) for o in self.unshipped]
        records = mail.shipment(unshipped, block=self.batch.pk, attempt=self.batch.attempt)
        held = {"batch": self.batch.pk, "fence": self.batch.fence}
        if not sql.execute("notices", "ship", **held, attempt=self.batch.attempt, ahead=self.ahead, records=records):
            raise jobs.LostLease(f"Batch {self.batch.pk}")
        self.unshipped, self.shipped_at = [], clock.monotonic()

    def _left(self, known: list[Outcome]) -> list[Outcome]:
        """Return what a run that was broken off has in its journal and did not tell: outcomes, and who is in doubt."""
        told = {o.n for o in known} | (self.tried - self.deferred.keys()) | self.named
        left = mail.recover(self.batch.pk, attempts=[self.batch.attempt])
        done = [o for o in map(self._placed, left.done.values()) if o.n not in told and self._is_news(o)]
        why = "the run was broken off before the reply"
        doubt = {policy.place_of(n)[0] for n in left.in_doubt} - told - {o.n for o in done}
        return done + [Outcome(n, "in_doubt", 0, "", why, clock.now_us()) for n in sorted(doubt)]

    def _is_due(self, n: int, at: datetime) -> bool:
        x = self.deferred.get(n)
        return x is not None and x.next_at is not None and x.next_at <= at

    def _told(self, n: int) -> list[int]:
        """Return the accounts that the notice of a place speaks of, the recipient's own first."""
        subject = self.batch.subjects[n]
        return [subject, *self.accounts.get(subject, [])]

    def _recipients(self, due: list[int], at_us: int) -> tuple[list[Recipient], list[Outcome]]:
        """Return the recipients to send to, and outcomes for those whom the register no longer knows."""
        self.people = {c.subject: c for c in subjects.contactables([s for n in due for s in self._told(n)])}
        self.salts = {c.subject: c.salt for c in self.people.values()}
        key, made, gone = code_key(), [], []
        reached = self._reached([s for n in due for s in self._told(n)]) if self.wants_elements else {}
        self.further = subjects.further_addresses({self.batch.subjects[n]: self.ranks[n] for n in due if n in self.ranks})
        for n in due:
            person = self.people.get(self.batch.subjects[n])
            address = self.further.get(person.subject) if person and n in self.ranks else person.address if person else None
            if person is None or address is None:
                gone.append(Outcome(n, "bounced", 0, "", "not in the register any more", at_us))
                continue
            accounts = [self.people[s] for s in self._told(n) if s in self.people]
            slots = {
                "name": policy.vetted(person.name.reveal(), instead=NAMELESS),
                "case_code": casecode.encode(key, block=self.batch.pk, place=n),
                "references": policy.references([a.external_id for a in accounts]),
                **({"elements": element_words(reached, self._told(n), locale=self.locale)} if self.wants_elements else {}),
            }
            self.rendered[n] = self._rendered(person.salt, slots)
            made.append(Recipient(n=self._number(n), address=address.reveal(), slots=slots, key=self._key(n)))
        return made, gone

    def _reached(self, people: list[int]) -> dict[int, int]:
        """Return what was readable of each person, by the exposure that the signed manifest names and that nothing can change."""
        return {s: clear for s, (clear, _) in incidents.elements_of(self.plan.manifest["exposure"], people).items()}

    def _key(self, n: int) -> str:
        first = f"{self.mailing.incident}:{self.batch.subjects[n]}:{self.mailing.notice_id}"
        return f"{first}:{self.ranks[n]}" if n in self.ranks else first

    def _rendered(self, salt: bytes, slots: Mapping[str, str]) -> str:
        """Return a MAC, under the subject's own salt, of the template and the values in it: says what was sent until the salt is erased."""
        digest = self.plan.templates[self.variant].digest
        return hmac.new(salt, digest + canonical.dumps(dict(slots)), hashlib.sha256).hexdigest()

    # -- step 4 ----------------------------------------------------------------------------------------------------------------------

    def settle(self, outcomes: list[Outcome], *, ended: bool = False, wait_s: float = 0.0, successor: bool = True) -> None:
        """Write outcomes down in one transaction; with `ended` give the lease back and see to it that the lane goes on."""
        if not outcomes and not ended:
            return
        doubt = {o.n for o in outcomes if o.kind == "in_doubt"}
        done = [o for o in outcomes if o.kind != "in_doubt"]
        now = clock.now()
        with transaction.atomic():
            current = [{"attempt": self.batch.attempt, "machine": machine(), "ahead": self.ahead}]
            changes = {} if ended else {"unsettled": current}
            waiting = self._write(done, changes=changes, doubt=doubt, attempts=[self.batch.attempt], at=now)
            if ended:
                self._give_back(waiting, now=now, wait_s=wait_s, successor=successor)
        self._remember(done, doubt)
        self.named |= doubt
        self.unshipped, self.shipped_at = [], clock.monotonic()

    def _give_back(self, waiting: dict[int, datetime], *, now: datetime, wait_s: float, successor: bool) -> None:
        """End the lease: the block is done, or open for its rest at once, or for its deferred recipients when the first is due."""
        untried = self.batch.n - len(policy.places(bytes(self.batch.tried)))
        over = not untried and not waiting
        due_at = min(waiting.values()) if waiting and not untried else FREE_AT
        jobs.fenced(self.batch, state="done" if over else "open", connections=0, unsettled=[], lease_owner=None, lease_until=due_at)
        if not successor:
            return
        mailing, lane = self.mailing.pk, self.lane.pk
        if untried or free_blocks(lane):
            again(mailing, lane, after_s=min(wait_s, HELD_LANE_S))
        elif waiting:
            jobs.enqueue(JOB, after_s=max(0.0, (due_at - now).total_seconds()) + RETRY_MARGIN_S, mailing=mailing, lane=lane)
        if over and not Batch.objects.filter(mailing_id=mailing, state="open").exists():
            jobs.enqueue(FINISH, unless_waiting=f"notices-finish-{mailing}", mailing=mailing)

    def _write(
        self, done: list[Outcome], *, changes: dict[str, Any], doubt: set[int], attempts: list[int], at: datetime, lost: bool = False
    ) -> dict[int, datetime]:
        """Write outcomes and doubts in the caller's transaction, the fence first; return who is deferred now, and until when.

        `lost`: the journal of an attempt was lost, or its end may be.
        """
        handed, failed, put_off = [], [], []
        for o in done:
            kind = policy.kind_of(o.kind, o.enhanced)
            if kind == "handed_over":
                handed.append(o)
            elif kind == "deferred" and (due := self._next_try(o)) is not None:
                put_off.append((o, due))
            else:
                failed.append(o)
        before = self.deferred
        new = {o.n for o in done}
        n_settled = sum(1 for o in (*handed, *failed) if o.n in before)
        self.batch.tried = policy.with_places(bytes(self.batch.tried), new, n=self.batch.n)
        self.batch.doubted = policy.with_places(bytes(self.batch.doubted), doubt, n=self.batch.n)
        jobs.fenced(
            self.batch,
            tried=self.batch.tried,
            doubted=self.batch.doubted,
            handed_over=F("handed_over") + len(handed),
            bounced=F("bounced") + len(failed),
            deferred=F("deferred") + sum(1 for o, _ in put_off if o.n not in before) - n_settled,
            **({"sent_at": at} if handed else {}),
            **changes,
        )
        if done:
            self._receipt(done, handed=len(handed), at=at)
        Shipped.objects.filter(batch=self.batch).delete()
        self._record_doubt(doubt, attempts=attempts, at=at, lost=lost)
        self._record_handed(handed)
        self._except(failed=failed, put_off=put_off, handed=handed)
        self._listen(done, at=at)
        gone = {o.n for o in (*handed, *failed)}
        return {x.place: x.next_at for x in before.values() if x.place not in gone and x.next_at} | {o.n: due for o, due in put_off}

    def _listen(self, done: list[Outcome], *, at: datetime) -> None:
        """Let the lane hear what the receivers said; the last write, because its row is everybody's in this lane."""
        heard = []
        for o in done:
            if o.kind in ("deferred", "bounced") and o.code and o.n not in self.ranks:  # a further address is seldom this lane's receiver's
                _, hard = mail_now.classify_reply(o.code, o.enhanced, o.text)
                us = mail_now.speaks_of_us(o.code, o.enhanced)
                heard.append(Heard(o.at_us / 1_000_000, o.code, o.enhanced, self._text(o), hard=hard and o.kind == "bounced", us=us))
        self.n_tried += len(done)
        took_s = max(clock.monotonic() - self.began_at, 0.001)
        _took[self.lane.pk] = self.n_tried / took_s
        lanes.hear(self.lane.pk, heard, sent=len(done), measured_per_s=self.n_tried / took_s, at=at)

    def _next_try(self, o: Outcome) -> datetime | None:
        tries = (self.deferred[o.n].tries if o.n in self.deferred else 0) + 1
        return policy.next_try(
            tries=tries,
            at=clock.from_us(o.at_us),
            retry=self.retry,
            spread=(self.batch.pk * 31 + o.n) % 100,
            asked_s=policy.asked_s(o.code, o.text),
        )

    def _text(self, o: Outcome) -> str:
        """Return what the receiver said, fit for tables and evidence."""
        person = self.people.get(self.batch.subjects[o.n])
        address = self.further.get(person.subject, person.address) if person else None
        return policy.masked(o.text, address.reveal() if address else "")

    def _receipt(self, done: list[Outcome], *, handed: int, at: datetime) -> None:
        packed, sha256 = policy.receipt(policy.Line(o.n, o.at_us, o.kind, o.code, o.enhanced, self._text(o)) for o in done)
        Receipt.objects.create(
            mailing=self.mailing, batch=self.batch, attempt=self.batch.attempt, handed_over=handed, packed=packed, sha256=sha256, at=at
        )

    def _record_doubt(self, doubt: Iterable[int], *, attempts: list[int], at: datetime, lost: bool) -> None:
        body = {"mailing": self.mailing.pk, "block": self.batch.pk, "attempts": attempts, "why": "machine" if lost else "connection"}
        self._record(
            EventType.NOTICE_IN_DOUBT,
            (SubjectEvent(s, self.salts[s], at, {**body, "place": n}) for n in sorted(doubt) for s in self._told(n) if s in self.salts),
        )

    def _record_handed(self, handed: list[Outcome]) -> None:
        digest = self.plan.templates[self.variant].digest.hex()

        def events() -> Iterator[SubjectEvent]:
            for o in handed:
                body = {
                    "mailing": self.mailing.pk,
                    "block": self.batch.pk,
                    "place": o.n,
                    "variant": self.variant,
                    "template_sha256": digest,
                    "message_id": mail.message_id(self._key(o.n)),
                    "code": o.code,
                    "enhanced": o.enhanced,
                    "reply": self._text(o),
                }
                if o.n in self.ranks:
                    body["rank"] = self.ranks[o.n]
                if o.n in self.rendered:
                    body["rendered_hmac"] = self.rendered[o.n]
                for i, subject in enumerate(self._told(o.n)):
                    if subject in self.salts:
                        told = body if i == 0 else {**body, "with": self.batch.subjects[o.n]}
                        yield SubjectEvent(subject, self.salts[subject], clock.from_us(o.at_us), told)

        self._record(EventType.NOTICE_HANDED_OVER, events())

    def _record(self, type_: EventType, events: Iterator[SubjectEvent]) -> None:
        evidence.record_many(type_, events, actor=ACTOR, incident=self.mailing.incident)

    def _except(self, *, failed: list[Outcome], put_off: list[tuple[Outcome, datetime]], handed: list[Outcome]) -> None:
        rows = [self._exception(o, "bounced", None) for o in failed] + [self._exception(o, "deferred", due) for o, due in put_off]
        if rows:
            RecipientException.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["batch", "place"],
                update_fields=["state", "code", "enhanced", "text", "tries", "tried_at", "next_at"],
            )
        told = [o.n for o in handed if o.n in self.deferred]
        if told:
            RecipientException.objects.filter(batch=self.batch, place__in=told).update(state="told", next_at=None)

        def events() -> Iterator[SubjectEvent]:
            for o in failed:
                subject = self.batch.subjects[o.n]
                if subject in self.salts:
                    body = {"mailing": self.mailing.pk, "block": self.batch.pk, "place": o.n, "code": o.code, "enhanced": o.enhanced}
                    yield SubjectEvent(subject, self.salts[subject], clock.from_us(o.at_us), {**body, "reply": self._text(o)})

        if failed:
            self._record(EventType.NOTICE_FAILED, events())

    def _exception(self, o: Outcome, state: str, due: datetime | None) -> RecipientException:
        return RecipientException(
            mailing=self.mailing,
            batch=self.batch,
            place=o.n,
            subject=self.batch.subjects[o.n],
            state=state,
            code=o.code,
            enhanced=o.enhanced,
            text=self._text(o),
            tries=(self.deferred[o.n].tries if o.n in self.deferred else 0) + 1,
            tried_at=clock.from_us(o.at_us),
            next_at=due,
        )

    def _remember(self, done: list[Outcome], doubt: set[int]) -> None:
        """Bring what is in memory up to what was committed."""
        self.tried = policy.places(bytes(self.batch.tried))
        self.doubted |= doubt
        if done:
            self.deferred = {x.place: x for x in RecipientException.objects.filter(batch=self.batch, state="deferred")}
