"""The acts over a company's own systems: look, arm, gate, prove, drain, take back. What the target did is done there before we write it.

Where a crash leaves an act: the target says itself where it stands, and each method of a connector may be called again; so an act that broke
off is given again and finds what is left to do. Our row follows the target, never the other way round. A gate that could not fall is kept as
`problem`, stands in the log, and is tried again by the worker until it has fallen.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import rfc8785
from django.db import transaction
from django.db.models import Max

from tocsin.credentials.models import ConnectorSecret, Epoch, Outbox, PlantedCanary, Population, Target
from tocsin.credentials.passwords import hashing, makers
from tocsin.credentials.populations import open_population
from tocsin.credentials.port import PLAIN, Connector, Finding, Gated, Presented, Probe, TargetCanary
from tocsin.credentials.room.writes import set_write_rate
from tocsin.credentials.types import ConnectorInfo, TargetGate
from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import config, jobs, sealing
from tocsin.kernel.errors import BadInput, Busy, Refused, TocsinError, Unavailable
from tocsin.kernel.private import Private
from tocsin.staff import actions as staff
from tocsin.staff import queries as staff_queries

from . import registry

CANARIES = 3
ACTIVE = ("armed", "gated", "draining", "drained")
BEHIND_THE_GATE = ("gated", "draining", "drained")
CONTEXT = "credentials.target_canary"
SECRET_BYTES_MAX = 4096
PARALLEL_MAX = 16
DRAIN_AFTER = timedelta(seconds=60)  # what was loaded before the gate has been written back by then
DRAIN_TICK_S = 2.0
DRAIN_MAX = 10_000
FAILED_KEPT_MAX = 1_000
TO_THE_WORKER = "left to the worker"
NOT_ARMED = "not armed: nothing has ended there"


def set_secret(name: str, secret: Private[str], *, at: datetime, by: str) -> None:
    """Seal what a connector signs in with. Raises BadInput for an empty or overlong one.

    Raises Refused while a connector that signs in with it is active: the worker holds the secret of what two people have armed, and one person
    alone does not put another in its place.
    """
    size = len(secret.reveal().encode())
    if not 1 <= size <= SECRET_BYTES_MAX:
        raise BadInput.of("secret", f"{size} bytes", f"1 to {SECRET_BYTES_MAX} bytes")
    found = registry.table(name)
    with transaction.atomic():
        held = ConnectorSecret.objects.select_for_update().filter(name=found.secret, live__isnull=False).exists()
        tables = config.current().connectors
        active = Target.objects.filter(state__in=ACTIVE).order_by("name").values_list("name", flat=True)
        users = [n for n in active if n in tables and tables[n].secret == found.secret]
        if held or users:
            raise Refused(
                f"the secret {found.secret} is in use by {', '.join(users) or name}, which is active: abort it first, then arm again"
            )
        ConnectorSecret.objects.update_or_create(name=found.secret, defaults={"rest": registry.rest(secret), "set_by": by, "set_at": at})
        evidence.record(EventType.CONNECTOR_SECRET_SET, at=at, actor=by, body={"connector": name, "secret": found.secret})


def probe(name: str, *, at: datetime, by: str = "operator") -> ConnectorInfo:
    """Look at a target and keep what was found; changes nothing there. An active one's write rate is the waiting room's at once.

    Raises Unavailable with the target's reason.
    """
    found = registry.connector(name).probe()
    row = _row(name)
    row.kind, row.formats, row.write_rate_per_s, row.probed_at = found.kind, list(found.formats), found.write_rate_per_s, at
    row.probe = {
        "subjects": found.subjects,
        "classes": list(found.classes),
        "drain_eta_s": found.drain_eta_s,
        "findings": [dataclasses.asdict(f) for f in (*found.findings, *_unproven(found))],
    }
    with transaction.atomic():
        row.save(update_fields=["kind", "formats", "write_rate_per_s", "probed_at", "probe"])
        _keep_pace(row.population.name, at=at, by=by)
    return info(row)


def slowest(population: str) -> float | None:
    """Return how many new passwords per second the slowest active target of a population takes, None if none sets a limit."""
    rates = Target.objects.filter(population__name=population, state__in=ACTIVE, write_rate_per_s__isnull=False, formats__len__gt=0)
    found: float | None = rates.order_by("write_rate_per_s").values_list("write_rate_per_s", flat=True).first()
    return found


def _keep_pace(population: str, *, at: datetime, by: str) -> None:
    """Tell the waiting room to let in no more than the slowest active target can be written to."""
    set_write_rate(population, slowest(population), at=at, by=by)


def _unproven(found: Probe) -> list[Finding]:
    """Return what the battery cannot prove at this target: that a new password works, where it takes none from us."""
    if "password" not in found.classes or found.formats:
        return []
    return [
        Finding(
            "warning",
            "the connector can write no password here: nobody tries that a new one works behind the gate, and none set on our site arrives",
            "set a password by hand in the system's own pages after the gate has fallen, and sign in with it",
        )
    ]


def payload(name: str) -> dict[str, Any]:
    """Return what two people sign before a connector may be armed: which system, by which adapter, with which options."""
    found = registry.table(name)
    options = sealing.lookup_digest(rfc8785.dumps(json.loads(json.dumps(dict(found.options)))).decode(), purpose="connector").hex()
    return {"connector": name, "adapter": found.adapter, "population": found.population, "options": options}


def arm(name: str, *, approval: int | None, at: datetime, by: str) -> ConnectorInfo:
    """Prepare a target so that its gate is one switch, and hand its secret to the worker. Nobody's log-in changes.

    Two people must have signed `payload`; without an approval one is asked for, and Refused carries its id. Raises Refused for a blocker of
    the probe and for a canary that does not get in: what does not let its own people in cannot prove that it keeps thieves out.
    """
    wanted = payload(name)
    if approval is None:
        raise Refused(f"arming connector {name} needs two signatures", approval=staff.request("connectors.arm", wanted, by=by, at=at))
    staff_queries.require(approval, act="connectors.arm", payload=wanted)
    looked = probe(name, at=at, by=by)
    if blockers := [f for f in looked.findings if f["level"] == "blocker"]:
        raise Refused("; ".join(f"{f['text']}: {f['remedy']}" for f in blockers))
    made = registry.connector(name)
    made.arm()
    row = _row(name)
    answers = _present(made, _planted(made, row))
    if dark := [a for a in answers if not a.accepted]:
        raise Refused(
            f"{len(dark)} of {len(answers)} canaries of {name} do not get in before the gate: {dark[0].cred_class}: {dark[0].detail}"
        )
    with transaction.atomic():
        row.state, row.armed_at, row.epoch, row.problem, row.red = "armed", at, _epoch(row.population), "", []
        row.canaries_tried = row.canaries_refused = 0
        row.save()
        registry.enliven(name)
        _keep_pace(row.population.name, at=at, by=by)
        staff.close(approval, at=at)
        body = {**wanted, "approval": approval, "subjects": looked.subjects, "canaries": len(answers)}
        evidence.record(EventType.TARGET_ARMED, at=at, actor=by, body=body)
    return info(row)


def gate(name: str, *, at: datetime, by: str) -> ConnectorInfo:
    """Let the gate of an armed target fall, and prove it. Safe to repeat. Raises Refused if it is not armed, Unavailable for the target's.

    A canary that survives does not raise: it stands in `red`, in the log, and in what `status` says from then on.
    """
    row = _active(name)
    made = registry.connector(name)
    epoch = _epoch(row.population)
    try:
        gated = made.gate(epoch, at=at)
    except TocsinError as e:
        _failed(row, "gate", e, at=at, by=by)
        raise
    _gated(row, gated, epoch=epoch, at=at, by=by)
    return verify(name, at=at, by=by)


def not_armed(population: str) -> tuple[str, ...]:
    """Return the configured connectors of a population that nobody has armed, by name: a cutover ends nothing there."""
    active = {row.name for row in _of(population)}
    return tuple(sorted(n for n, t in config.current().connectors.items() if t.population == population and n not in active))


@contextmanager
def falling(population: str, *, at: datetime, by: str) -> Iterator[Callable[[], tuple[TargetGate, ...]]]:
    """Let the gates of a population's armed targets fall, side by side, while the block runs; it gets what waits and says what became of each.

    Call what it gets once: it writes the rows and proves the gates. One that failed is named there, in the log and in `status`, and the worker
    goes on trying, as it does if this process dies meanwhile; a process that may open no secret leaves all to it. Those that nobody has armed
    are named too.
    """
    rows = [r for r in _of(population) if r.name in config.current().connectors]
    left = tuple(TargetGate(n, gated=False, took_ms=0.0, problem=NOT_ARMED) for n in not_armed(population))
    if not rows or not registry.may_act():
        yield lambda: tuple(TargetGate(r.name, gated=False, took_ms=0.0, problem=TO_THE_WORKER) for r in rows) + left
        return
    ready: list[tuple[Target, Connector]] = []
    results: dict[str, Gated | TocsinError] = {}
    for row in rows:
        try:
            ready.append((row, registry.connector(row.name)))
        except TocsinError as e:
            results[row.name] = e
    epoch = _epoch(rows[0].population)

    def switch(made: Connector) -> Gated | TocsinError:
        try:
            return made.gate(epoch, at=at)
        except TocsinError as e:
            return e

    with ThreadPoolExecutor(max_workers=min(PARALLEL_MAX, max(1, len(ready)))) as pool:
        begun = {row.name: pool.submit(switch, made) for row, made in ready}

        def became() -> tuple[TargetGate, ...]:
            found = results | {name: switched.result() for name, switched in begun.items()}
            return tuple(_noted(row, found[row.name], epoch=epoch, at=at, by=by) for row in rows) + left

        yield became


def _noted(row: Target, result: Gated | TocsinError, *, epoch: int, at: datetime, by: str) -> TargetGate:
    if isinstance(result, TocsinError):
        _failed(row, "gate", result, at=at, by=by)
        return TargetGate(row.name, gated=False, took_ms=0.0, problem=str(result))
    _gated(row, result, epoch=epoch, at=at, by=by)
    red = verify(row.name, at=at, by=by).red
    return TargetGate(row.name, gated=True, took_ms=result.took_ms, problem="; ".join(red))


def verify(name: str, *, at: datetime, by: str) -> ConnectorInfo:
    """Present every canary's every secret at the target's own door, twice, from two connections; then give one a new password.

    Behind the gate each old secret must be refused, and the new password accepted; before it each must be accepted. What is otherwise stands
    in `red` with the reason. Raises Refused if no canary is planted: silence would look like proof.
    """
    row = _row(name)
    planted = list(PlantedCanary.objects.filter(target=row).order_by("pk"))
    if not planted:
        raise Refused(f"no canaries are planted in {name}: arm it first")
    behind = row.state in BEHIND_THE_GATE
    renewed = [p for p in planted if behind and p.epoch >= row.epoch > 0]
    old = [p for p in planted if p not in renewed]
    red: list[str] = []
    tried = refused = 0
    try:
        for place, made in (("", registry.connector(name)), (" from a second connection", registry.connector(name))):
            answers = _present(made, map(_opened, old))
            tried += len(answers)
            refused += sum(not a.accepted for a in answers)
            red += [f"{a.account}: {a.cred_class} {_said(a)}{place}: {a.detail}" for a in answers if a.accepted == behind]
        if behind and row.formats:
            red += _renew(row, (renewed or old)[0])
    except TocsinError as e:
        red.append(f"the canaries could not be presented: {e}")
    with transaction.atomic():
        Target.objects.filter(pk=row.pk).update(canaries_tried=tried, canaries_refused=refused, red=red)
        body = {"connector": name, "epoch": row.epoch, "behind_the_gate": behind, "tried": tried, "refused": refused, "red": len(red)}
        evidence.record(EventType.TARGET_VERIFIED, at=at, actor=by, body=body)
    return info(_row(name))


def _renew(row: Target, planted: PlantedCanary) -> list[str]:
    """Give a canary a new password as `redeem` would, and present it; return what is wrong with that."""
    made, canary, password = registry.connector(row.name), _opened(planted), Private(secrets.token_urlsafe(24))
    made.set_password(canary.account, in_format(row.formats[0], password), format=row.formats[0])
    fresh = TargetCanary(canary.account, canary.login, {**canary.secrets, "password": password})
    answers = [a for a in made.present(fresh) if a.cred_class == "password"]
    planted.sealed, planted.epoch = _sealed(fresh), row.epoch
    planted.save(update_fields=["sealed", "epoch"])
    return [f"{a.account}: a new password is refused: {a.detail}" for a in answers if not a.accepted]


def drain(name: str, *, at: datetime, by: str) -> ConnectorInfo:
    """Begin to revoke one by one behind the gate; the worker goes on at the target's pace. From the first one on there is no way back.

    Raises Refused before the gate has stood for DRAIN_AFTER, or while canaries say that it does not hold.
    """
    row = _active(name)
    if row.state not in BEHIND_THE_GATE:
        raise Refused(f"{name} is {row.state}: the gate falls first")
    if row.red:
        raise Refused(f"the canaries of {name} say that its gate does not hold: {row.red[0]}")
    if row.gated_at is not None and at < row.gated_at + DRAIN_AFTER:
        raise Busy(f"the gate of {name} fell a moment ago", retry_after_s=DRAIN_AFTER.total_seconds())
    if row.state != "drained" and not row.draining:
        with transaction.atomic():
            Target.objects.filter(pk=row.pk).update(draining=True, drain_cursor=None)
            evidence.record(EventType.TARGET_DRAINED, at=at, actor=by, body={"connector": name, "stage": "begun", "epoch": row.epoch})
    return info(_row(name))


def drain_some(name: str, *, at: datetime) -> int:
    """Revoke as many as the target takes in DRAIN_TICK_S; return how many. Goes on where the last call stopped."""
    row = _active(name)
    if not row.draining or row.state == "drained":
        return 0
    limit = DRAIN_MAX if row.write_rate_per_s is None else max(1, int(row.write_rate_per_s * DRAIN_TICK_S))
    part = registry.connector(name).drain(row.drain_cursor, limit=min(limit, DRAIN_MAX))
    failed = dict(row.drain_failed) if row.drain_cursor is not None else {}
    failed = dict(list({**failed, **part.failed}.items())[:FAILED_KEPT_MAX])
    ended = part.cursor is None and not failed
    with transaction.atomic():
        Target.objects.filter(pk=row.pk).update(
            state="drained" if ended else "draining",
            draining=not ended,
            drain_cursor=part.cursor,
            drained=row.drained + part.done,
            drain_failed=failed,
            problem="" if not failed else f"{len(failed)} accounts could not be revoked one by one yet: {next(iter(failed.values()))}",
        )
        if ended:
            body = {"connector": name, "stage": "ended", "epoch": row.epoch, "drained": row.drained + part.done}
            evidence.record(EventType.TARGET_DRAINED, at=at, actor="worker", body=body)
    return part.done


def abort(name: str, *, approval: int | None, at: datetime, by: str) -> ConnectorInfo:
    """Lead a target back to before it was armed, remove our canaries, and take the secret from the worker.

    Behind a gate older passwords come back by it, so two people must have signed; without an approval one is asked for. Raises Refused once
    draining has destroyed some.
    """
    row = _active(name)
    wanted = {**payload(name), "from": "gate"}
    if row.state != "armed":
        if approval is None:
            raise Refused(
                f"lifting the gate of {name} needs two signatures", approval=staff.request("connectors.abort", wanted, by=by, at=at)
            )
        staff_queries.require(approval, act="connectors.abort", payload=wanted)
    return _abort(row, approval=approval if row.state != "armed" else None, at=at, by=by)


def _abort(row: Target, *, approval: int | None, at: datetime, by: str) -> ConnectorInfo:
    made = registry.connector(row.name)
    made.abort()
    for planted in PlantedCanary.objects.filter(target=row):
        made.uproot(_opened(planted))
    with transaction.atomic():
        was = row.state
        row.state, row.gated_at, row.took_ms, row.epoch, row.problem, row.red = "aborted", None, None, 0, "", []
        row.draining, row.drain_cursor, row.change_cursor = False, None, None
        row.save()
        PlantedCanary.objects.filter(target=row).delete()
        # What failed is over as well: the shop has no gate any more behind which its owner would have to wait.
        Outbox.objects.filter(target=row, state__in=["waiting", "failed"]).update(state="replaced", sealed=None)
        _keep_pace(row.population.name, at=at, by=by)
        registry.withdraw(row.name, others=Target.objects.filter(state__in=ACTIVE).exclude(pk=row.pk).values_list("name", flat=True))
        if approval is not None:
            staff.close(approval, at=at)
        evidence.record(EventType.TARGET_ABORTED, at=at, actor=by, body={"connector": row.name, "was": was, "approval": approval})
    return info(row)


def mind(*, at: datetime) -> None:
    """Enqueue what each target needs now: a gate that is behind its population's epoch, a look for changes, a step of draining.

    The waiting room's limit follows the slowest of them.

    The worker calls this every two seconds; one job per target and kind waits at a time, so a slow target holds up no other.
    """
    epochs = {}
    for home in Population.objects.all():
        epochs[home.pk] = _epoch(home)
        _keep_pace(home.name, at=at, by="worker")  # what a crash or another hand has left otherwise; writes nothing where nothing differs
    for row in Target.objects.filter(state__in=ACTIVE):
        now = epochs[row.population_id]
        if row.name not in config.current().connectors:
            continue
        if row.epoch < now:
            _ask("gate_target", row.name)
        elif row.epoch > now:
            _ask("lift_target", row.name)
        elif row.state in BEHIND_THE_GATE:
            _ask("watch_target", row.name)
            if row.draining and row.gated_at is not None and at >= row.gated_at + DRAIN_AFTER:
                _ask("drain_target", row.name)
        if row.epoch <= now:
            waiting = Outbox.objects.filter(target=row, state="waiting", tries=0, created_at__lt=at - timedelta(seconds=5))
            for outbox in waiting.order_by("pk").values_list("pk", flat=True)[:DRAIN_MAX]:
                _ask("deliver_password", row.name, outbox=outbox)


def gate_late(name: str, *, at: datetime) -> None:
    """Gate a target that is behind its population's epoch. Raises Unavailable for the queue to come back."""
    row = _active(name)
    if row.epoch < _epoch(row.population):
        gate(name, at=at, by="worker")


def lift_late(name: str, *, at: datetime) -> None:
    """Lift the gate of a target whose population's cutover was taken back by two people; one that was drained is named as stuck."""
    row = _active(name)
    if row.epoch > _epoch(row.population) and row.state in {"armed", "gated"}:
        try:
            _abort(row, approval=None, at=at, by="worker")
        except TocsinError as e:
            _failed(row, "abort", e, at=at, by="worker")
            raise


def known(name: str) -> ConnectorInfo:
    """Return what we last knew of a connector, without asking the target."""
    registry.table(name)
    row = Target.objects.select_related("population").filter(name=name).first()
    if row is None:
        found = registry.table(name)
        return ConnectorInfo(
            name, "", "open", 0, {"tried": 0, "refused": 0}, None, None, (), population=found.population, adapter=found.adapter
        )
    return info(row)


def status(name: str) -> ConnectorInfo:
    """Return where a target stands, asked of the target itself; where that differs from what we knew, or it does not answer, a finding says so."""
    seen = known(name)
    try:
        stands = registry.connector(name).status()
    except (Unavailable, Refused) as e:
        return dataclasses.replace(
            seen, findings=(*seen.findings, _finding("warning", str(e), "see that it runs and lets the connector in"))
        )
    same = {seen.state, stands.state} <= {"open", "aborted"} or seen.state == stands.state
    if same or {seen.state, stands.state} <= set(BEHIND_THE_GATE):
        return dataclasses.replace(seen, state=stands.state)
    told = _finding(
        "blocker", f"the target is {stands.state}; by our books it is {seen.state}", f"tocsin connector gate {name}, or abort it"
    )
    return dataclasses.replace(seen, state=stands.state, findings=(*seen.findings, told))


def info(row: Target) -> ConnectorInfo:
    """Return a target as a value; its findings are those of the last look, with what is wrong now in front."""
    waiting = Outbox.objects.filter(target=row, state="waiting").count()
    lost = Outbox.objects.filter(target=row, state="failed").count()
    subjects, eta = int(row.probe.get("subjects", 0)), row.probe.get("drain_eta_s")
    now = [_finding("blocker", text, f"tocsin connector verify {row.name}") for text in row.red]
    now += [_finding("blocker", row.problem, "the worker goes on trying")] if row.problem else []
    now += [_finding("warning", f"{lost} new passwords were not taken", f"see the log's entries of {row.name}")] if lost else []
    left = max(0, subjects - row.drained) if row.state != "drained" else 0
    return ConnectorInfo(
        name=row.name,
        kind=row.kind,
        state=row.state,
        subjects=subjects,
        canaries={"tried": row.canaries_tried, "refused": row.canaries_refused},
        write_rate_per_s=row.write_rate_per_s,
        drain_eta_s=None if eta is None else round(eta * left / subjects, 1) if subjects else 0.0,
        findings=(*now, *row.probe.get("findings", [])),
        population=row.population.name,
        adapter=registry.table(row.name).adapter if row.name in config.current().connectors else "",
        epoch=row.epoch,
        took_ms=row.took_ms,
        drained=row.drained,
        waiting=waiting,
        red=tuple(row.red),
    )


def in_format(format: str, password: Private[str]) -> Private[str]:
    """Return a password as a target takes it: a hash in its format, or the text itself for one that hashes alone."""
    if format == PLAIN:
        return password
    with hashing.slots.slot():
        return makers.make_in(format, password)


def _finding(level: str, text: str, remedy: str = "") -> dict[str, Any]:
    """Return one finding as it is kept and shown."""
    return {"level": level, "text": text, "remedy": remedy}


def _row(name: str) -> Target:
    """Return a target's row, made at the first look; the worker, which may make no population, finds one that is there."""
    found = registry.table(name)
    row = Target.objects.select_related("population").filter(name=name).first()
    return row or Target.objects.create(name=name, population=open_population(found.population), kind="")


def _active(name: str) -> Target:
    registry.table(name)
    row = Target.objects.select_related("population").filter(name=name).first()
    if row is None or row.state not in ACTIVE:
        raise Refused(f"connector {name} is {row.state if row else 'open'}: arm it first")
    return row


def _of(population: str) -> list[Target]:
    return list(Target.objects.select_related("population").filter(population__name=population, state__in=ACTIVE).order_by("name"))


def _epoch(population: Population) -> int:
    return int(Epoch.objects.filter(population=population, cred_class="password").aggregate(top=Max("epoch"))["top"] or 1)


def _gated(row: Target, gated: Gated, *, epoch: int, at: datetime, by: str) -> None:
    with transaction.atomic():
        if row.epoch != epoch or row.state == "armed":
            row.change_cursor, row.drain_cursor, row.draining, row.took_ms = None, None, False, gated.took_ms
            row.gated_at = at
        row.state, row.epoch, row.problem = row.state if row.state == "draining" else "gated", epoch, ""
        row.save()
        body = {"connector": row.name, "epoch": epoch, "took_us": round(gated.took_ms * 1000), "said": gated.detail}
        evidence.record(EventType.TARGET_GATED, at=at, actor=by, body=body)


def _failed(row: Target, act: str, error: TocsinError, *, at: datetime, by: str) -> None:
    """Keep what went wrong; the log hears of it once per reason, not once per try."""
    text = f"{act}: {error}"
    with transaction.atomic():
        if Target.objects.filter(pk=row.pk).exclude(problem=text).update(problem=text):
            evidence.record(EventType.TARGET_FAILED, at=at, actor=by, body={"connector": row.name, "act": act, "reason": str(error)})


def _planted(made: Connector, row: Target) -> list[TargetCanary]:
    """Return the canaries of a target, planted up to CANARIES. Kept before they are needed: a crash leaves at most three nobodies behind."""
    have = list(PlantedCanary.objects.filter(target=row))
    if len(have) < CANARIES:
        for canary in made.plant(CANARIES - len(have)):
            have.append(PlantedCanary.objects.create(target=row, account=canary.account, login=canary.login, sealed=_sealed(canary)))
    return [_opened(p) for p in have]


def _present(made: Connector, canaries: Iterable[TargetCanary]) -> list[Presented]:
    return [answer for canary in canaries for answer in made.present(canary)]


def _said(answer: Presented) -> str:
    return "still opens the door" if answer.accepted else "is refused already"


def _sealed(canary: TargetCanary) -> bytes:
    return sealing.seal(json.dumps({c: s.reveal() for c, s in canary.secrets.items()}), context=CONTEXT)


def _opened(row: PlantedCanary) -> TargetCanary:
    known_secrets = json.loads(sealing.open_sealed(row.sealed, context=CONTEXT).reveal())
    return TargetCanary(row.account, row.login, {c: Private(s) for c, s in known_secrets.items()})


def _ask(job: str, name: str, **arguments: Any) -> None:
    key = ":".join([job, name, *(str(v) for v in arguments.values())])
    jobs.enqueue(f"credentials.tasks.{job}", unless_waiting=key, **(arguments or {"target": name}))
