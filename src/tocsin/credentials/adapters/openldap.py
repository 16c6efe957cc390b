"""Accounts in OpenLDAP, gated by one change of `olcAccess`: only who has changed the password since the cut may be compared with it.

    gated    {0}to dn.subtree="BASE" filter=(pwdChangedTime>=CUT) attrs=userPassword by ... (as the directory had it)
             {1}to dn.subtree="BASE" attrs=userPassword by dn.exact="BIND_DN" write by * none

An entry that the filter does not match falls to the second rule, and so does one without pwdChangedTime: the gate fails closed. A bind
needs `auth` on userPassword, so every older password is refused at once, whatever the number of entries. CUT comes from the server's
own clock: first both rules go in with a cut that nobody reaches, then the time stamp of that change, rounded up to the next second,
becomes the cut; what was set in the second of the gate counts as older.

Needs the overlay ppolicy on the database (it writes pwdChangedTime) and a user who may change cn=config. Refused: pwdReset=TRUE (the old
password still binds; only later operations are restricted) and pwdAccountLockedTime (means nothing unless the policy has pwdLockout).
Where a target stands is kept in the entry cn=tocsin-NAME under BASE. Source: slapd.access(5), slapo-ppolicy(5), RFC 3062.

The secret has two lines: the password of `bind_dn`, and that of `config_dn`; one line serves both.
GAP: connections that are bound already stay bound. GAP: a replica has a cn=config of its own: give each server a connector.
GAP: `changed_elsewhere` also names accounts that we gave a password: the directory does not say who set it.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import ldap3
from ldap3.core import exceptions as errors
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from tocsin.credentials.connectors import options as given
from tocsin.credentials.connectors.sqltable import CANARY, new_canary
from tocsin.credentials.passwords import makers
from tocsin.credentials.port import PLAIN, Changed, Drained, Finding, Gated, Presented, Probe, State, TargetCanary, TargetStatus
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private

CONNECT_S, CALL_S = 5, 20
NEVER = "99991231235959Z"
MARK = 'by dn.exact="cn=tocsin-gate" none'  # nobody has that name: it says whose rule this is
DRAIN_PER_S = 2_264  # entries per second that lose their userPassword; source: specification, section 6
PAGE = 1_000
OVERLAP = timedelta(seconds=5)  # a change is stamped when it begins and seen when it ends
STATES: dict[str, State] = {"gated": "gated", "draining": "draining", "drained": "drained"}
LDAP_FORMATS = tuple(f for f in makers.FORMATS if f.startswith("ldap_"))


@dataclass(frozen=True, slots=True)
class LdapOptions:
    """How to reach a directory and where in it the accounts are.

    `base` is the subtree of people: service accounts elsewhere are not gated. `account` is the attribute that the register of subjects calls
    external id, `rdn` that of an entry's name; `people` is the filter of entries that count. `canary` gives attributes of our own entries.
    """

    host: str = "127.0.0.1"
    port: int = 389
    tls: bool = False
    base: str = ""
    bind_dn: str = ""
    config_dn: str = "cn=admin,cn=config"
    account: str = "uid"
    rdn: str = "uid"
    people: str = "(objectClass=inetOrgPerson)"
    object_classes: tuple[str, ...] = ("inetOrgPerson",)
    formats: tuple[str, ...] = ()
    canary: Mapping[str, Any] = field(default_factory=dict)


class OpenLdap:
    """The people under one base of an OpenLDAP server."""

    kind = "openldap"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        self.o = given.parse(LdapOptions, name, options, needed=("base", "bind_dn"))
        if bad := [f for f in self.o.formats if f not in {*LDAP_FORMATS, PLAIN}]:
            raise BadInput.of(f"connectors.{name}.formats", bad, f"some of {', '.join((*LDAP_FORMATS, PLAIN))}")
        self.name = name
        lines = (secret.reveal() if secret is not None else "").splitlines() or [""]
        self._data, self._config = Private(lines[0]), Private(lines[1] if len(lines) > 1 else lines[0])
        self._mark_dn = f"cn=tocsin-{escape_rdn(name)},{self.o.base}"

    def reach(self) -> Literal["loopback", "world"]:
        """Return whether the directory is on this machine."""
        return "loopback" if is_local(self.o.host) else "world"

    def probe(self) -> Probe:
        """Look at entries, overlay, rules and modules. Raises BadInput for a base that is not there."""
        with self._open() as people:
            try:
                people.search(self.o.base, "(objectClass=*)", ldap3.BASE)
            except errors.LDAPNoSuchObjectResult:
                raise BadInput.of(f"connectors.{self.name}.base", self.o.base, "the name of an entry of this directory") from None
            mine = f"(!({self.o.rdn}={CANARY}*))"
            subjects = self._count(people, f"(&{self.o.people}{mine})")
            undated = self._count(people, f"(&{self.o.people}{mine}(!(pwdChangedTime=*)))")
        findings, modules = self._findings()
        if undated:
            findings.append(
                Finding(
                    "warning",
                    f"{undated} of {subjects} entries have no pwdChangedTime: the gate refuses them until they get a new password",
                    "let them change it through a client that speaks to this server while ppolicy is loaded",
                )
            )
        formats = [f for f, module in (("ldap_argon2", "argon2"), ("ldap_crypt", ""), ("ldap_ssha512", "pw-sha2")) if module in modules]
        return Probe(
            kind=self.kind,
            subjects=subjects,
            classes=("password",),
            formats=self.o.formats or (*formats, PLAIN),
            write_rate_per_s=None,
            drain_eta_s=round(subjects / DRAIN_PER_S, 1),
            findings=tuple(findings),
        )

    def arm(self) -> None:
        """Keep the rule that holds for userPassword now, for the gate to repeat it. Changes nothing for anybody."""
        if blockers := [f for f in self.probe().findings if f.level == "blocker"]:
            raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
        with self._open(config=True) as config:
            _, rules = self._database(config)
        if self._ours(rules):
            return
        clauses, _ = _clauses(rules)
        self._keep({"state": "armed", "by": clauses})

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Put both rules in with one change; a gate of a higher epoch moves the cut. Returns once the second of the cut has passed."""
        kept = self._kept()
        with self._open(config=True) as config:
            dn, rules = self._database(config)
            ours = self._ours(rules)
            if not kept and not ours:
                raise Refused(f"connector {self.name} is not armed: {self._mark_dn} does not exist")
            if ours and NEVER not in ours[0] and int(kept.get("epoch", 0)) >= epoch:
                return Gated(0.0, f"was gated already under epoch {kept['epoch']}")
            began = time.monotonic()
            clauses = str(kept.get("by") or _clauses([])[0])
            self._write_rules(config, dn, ours, cut=NEVER, clauses=clauses)
            # From here on nobody binds. What follows lets those in who change their password from the next second on.
            closed_ms = (time.monotonic() - began) * 1000
            config.search(dn, "(objectClass=*)", ldap3.BASE, attributes=["modifyTimestamp"])
            cut = _stamp(_time(config.entries[0]["modifyTimestamp"].value) + timedelta(seconds=1))
            _, rules = self._database(config)
            self._write_rules(config, dn, self._ours(rules), cut=cut, clauses=clauses)
        state = kept["state"] if kept.get("state") in {"draining", "drained"} else "gated"
        self._keep(
            {**kept, "state": "draining" if state == "drained" else state, "cut": cut, "epoch": epoch, "at": at.isoformat(), "by": clauses}
        )
        time.sleep(1.05)
        return Gated(round(closed_ms, 3), f"passwords set before {cut} bind no more")

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Add `n` entries of ours with known passwords."""
        format = self.probe().formats[0]
        made = []
        with self._open() as people:
            for _ in range(n):
                login, password = new_canary()
                attributes: dict[str, Any] = {"cn": login, "sn": login, self.o.account: login, self.o.rdn: login}
                attributes |= {k: v.replace("{login}", login) if isinstance(v, str) else v for k, v in self.o.canary.items()}
                stored = password if format == PLAIN else makers.make_in(format, password)
                people.add(self._canary_dn(login), list(self.o.object_classes), {**attributes, "userPassword": stored.reveal()})
                made.append(TargetCanary(account=str(attributes[self.o.account]), login=login, secrets={"password": password}))
        return made

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Bind as the canary, as a mail server or a desktop does, and say whether the directory took the password."""
        server = ldap3.Server(self.o.host, self.o.port, use_ssl=self.o.tls, connect_timeout=CONNECT_S, get_info=ldap3.NONE)
        door = ldap3.Connection(server, self._canary_dn(canary.login), canary.secrets["password"].reveal(), receive_timeout=CALL_S)
        try:
            accepted = bool(door.bind())
            detail = str(door.result.get("description", ""))
            if accepted and not door.search(self._canary_dn(canary.login), "(objectClass=*)", ldap3.BASE):
                detail = f"the bind succeeded; operations after it do not ({door.result.get('description')})"
        except errors.LDAPException as e:
            raise self._down(e) from None
        finally:
            with contextlib.suppress(errors.LDAPException, OSError):
                door.unbind()
        return [Presented(canary.account, "password", accepted=accepted, detail=detail)]

    def uproot(self, canary: TargetCanary) -> None:
        """Delete the entry of a canary; only ever one of ours."""
        if canary.login.startswith(CANARY):
            with self._open() as people, contextlib.suppress(errors.LDAPNoSuchObjectResult):
                people.delete(self._canary_dn(canary.login))

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Delete the userPassword of up to `limit` entries older than the cut. After the first one there is no abort."""
        kept = self._kept()
        if self.status().state not in STATES.values():
            raise Refused(f"connector {self.name} is not gated: nothing may be drained")
        if kept["state"] == "gated":
            kept["state"] = "draining"
            self._keep(kept)
        done, failed = 0, {}
        with self._open() as people:
            older = f"(&{self.o.people}(userPassword=*)(!(pwdChangedTime>={kept['cut']})))"
            people.search(self.o.base, older, ldap3.SUBTREE, attributes=[self.o.account], paged_size=limit)
            for entry in list(people.entries):
                try:
                    people.modify(entry.entry_dn, {"userPassword": [(ldap3.MODIFY_DELETE, [])]})
                    done += 1
                except errors.LDAPNoSuchAttributeResult:
                    continue
                except errors.LDAPOperationResult as e:
                    failed[str(entry[self.o.account].value)] = str(e.description)
        if done + len(failed) < limit and not failed:
            self._keep({**kept, "state": "drained"})
        return Drained(done=done, failed=failed, cursor="on" if done and done + len(failed) >= limit else None)

    def abort(self) -> None:
        """Take both rules out again."""
        state = self.status().state
        if state in {"draining", "drained"}:
            raise Refused(f"connector {self.name} has begun to delete old passwords: there is no way back")
        with self._open(config=True) as config:
            dn, rules = self._database(config)
            if ours := self._ours(rules):
                config.modify(dn, {"olcAccess": [(ldap3.MODIFY_DELETE, ours)]})
        with self._open() as people, contextlib.suppress(errors.LDAPNoSuchObjectResult):
            people.delete(self._mark_dn)

    def status(self) -> TargetStatus:
        """Read from cn=config whether the rules stand, and from our entry how far the draining is."""
        kept = self._kept()
        with self._open(config=True) as config:
            _, rules = self._database(config)
        if ours := self._ours(rules):
            cut = re.search(r"pwdChangedTime>=(\w+)", ours[0])
            at = datetime.fromisoformat(str(kept["at"])) if kept.get("at") else None
            return TargetStatus(STATES.get(str(kept.get("state")), "gated"), detail=f"cut at {cut[1] if cut else '?'}", gated_at=at)
        return TargetStatus("armed" if kept else "open")

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Write userPassword; ppolicy stamps it, which lifts the gate. Raises Unavailable if no stamp later than the cut came of it."""
        if format not in {*LDAP_FORMATS, PLAIN}:
            raise BadInput.of("format", format, f"one of {', '.join((*LDAP_FORMATS, PLAIN))}")
        with self._open() as people:
            people.search(self.o.base, f"(&{self.o.people}({self.o.account}={escape_filter_chars(account)}))", ldap3.SUBTREE)
            if len(people.entries) != 1:
                raise NotFound(f"connector {self.name}: {len(people.entries)} entries with {self.o.account}={account[:64]!r}")
            dn = people.entries[0].entry_dn
            if format == PLAIN:
                people.extend.standard.modify_password(dn, new_password=secret.reveal())
            else:
                people.modify(dn, {"userPassword": [(ldap3.MODIFY_REPLACE, [secret.reveal()])]})
            people.search(dn, "(objectClass=*)", ldap3.BASE, attributes=["pwdChangedTime"])
            stamped = people.entries[0]["pwdChangedTime"].value if people.entries and "pwdChangedTime" in people.entries[0] else None
        cut = self._kept().get("cut")
        if cut and (stamped is None or _stamp(_time(stamped)) < str(cut)):
            raise Unavailable(
                f"connector {self.name}", "the directory took the password and stamped no pwdChangedTime: is ppolicy still loaded?"
            )

    def write_rate_limit(self) -> float | None:
        """Return None: the directory takes some thousand changes per second."""
        return None

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return accounts whose pwdChangedTime is later than cut and cursor, which is a time stamp of the server less an overlap."""
        cut = self._kept().get("cut")
        if not cut:
            return Changed((), since or "")
        start = max(str(cut), since or "")
        found: dict[str, datetime] = {}
        with self._open() as people:
            newer = f"(&{self.o.people}(pwdChangedTime>={start})(!({self.o.rdn}={CANARY}*)))"
            for row in people.extend.standard.paged_search(
                self.o.base, newer, ldap3.SUBTREE, attributes=[self.o.account, "pwdChangedTime"], paged_size=PAGE, generator=True
            ):
                account = row["attributes"][self.o.account]
                found[str(account[0] if isinstance(account, list) else account)] = _time(row["attributes"]["pwdChangedTime"])
        last = max(found.values(), default=None)
        return Changed(tuple(sorted(found)), max(start, _stamp(last - OVERLAP)) if last is not None else start)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.o.host}:{self.o.port} {self.o.base}>"

    # Connections and their errors.

    @contextlib.contextmanager
    def _open(self, *, config: bool = False) -> Iterator[Any]:
        dn, word = (self.o.config_dn, self._config) if config else (self.o.bind_dn, self._data)
        server = ldap3.Server(self.o.host, self.o.port, use_ssl=self.o.tls, connect_timeout=CONNECT_S, get_info=ldap3.NONE)
        line = ldap3.Connection(server, dn, word.reveal(), receive_timeout=CALL_S, raise_exceptions=True)
        try:
            line.bind()
            yield line
        except (errors.LDAPException, OSError) as e:
            raise self._down(e) from None
        finally:
            with contextlib.suppress(errors.LDAPException, OSError):
                line.unbind()

    def _down(self, e: Exception) -> Unavailable:
        said = f"{e.description}: {e.message}".strip(": ") if isinstance(e, errors.LDAPOperationResult) else type(e).__name__
        return Unavailable(f"connector {self.name}", f"LDAP at {self.o.host}:{self.o.port}: {said}")

    def _count(self, people: Any, filter: str) -> int:
        found = people.extend.standard.paged_search(self.o.base, filter, ldap3.SUBTREE, attributes=["1.1"], paged_size=PAGE, generator=True)
        return sum(1 for _ in found)

    def _canary_dn(self, login: str) -> str:
        return f"{self.o.rdn}={escape_rdn(login)},{self.o.base}"

    # What we keep in the directory.

    def _kept(self) -> dict[str, Any]:
        with self._open() as people:
            try:
                people.search(self._mark_dn, "(objectClass=*)", ldap3.BASE, attributes=["description"])
            except errors.LDAPNoSuchObjectResult:
                return {}
            kept: dict[str, Any] = json.loads(str(people.entries[0]["description"].value)) if people.entries else {}
        return kept

    def _keep(self, values: Mapping[str, Any]) -> None:
        text = json.dumps(values, sort_keys=True)
        with self._open() as people:
            try:
                people.add(self._mark_dn, ["organizationalRole"], {"description": text})
            except errors.LDAPEntryAlreadyExistsResult:
                people.modify(self._mark_dn, {"description": [(ldap3.MODIFY_REPLACE, [text])]})

    # cn=config.

    def _database(self, config: Any) -> tuple[str, list[str]]:
        """Return the entry of the database that holds the base, and its rules in their order."""
        config.search("cn=config", "(olcSuffix=*)", ldap3.LEVEL, attributes=["olcSuffix", "olcAccess"])
        holds = [
            (len(suffix), entry)
            for entry in config.entries
            for suffix in entry["olcSuffix"].values
            if f",{_plain(self.o.base)}".endswith(f",{_plain(suffix)}")
        ]
        if not holds:
            raise Unavailable(f"connector {self.name}", f"cn=config shows {self.o.config_dn} no database that holds {self.o.base}")
        entry = max(holds, key=lambda found: found[0])[1]
        rules = sorted(map(str, entry["olcAccess"].values if "olcAccess" in entry else []), key=_place)
        return entry.entry_dn, rules

    def _ours(self, rules: Sequence[str]) -> list[str]:
        return [r for r in rules if MARK in r]

    def _write_rules(self, config: Any, dn: str, ours: Sequence[str], *, cut: str, clauses: str) -> None:
        """Put both rules in front of all others, in the place of those we had: one change, which slapd applies as a whole."""
        where, us = f'to dn.subtree="{self.o.base}"', f'by dn.exact="{self.o.bind_dn}" write'
        new = [
            f"{{0}}{where} filter=(pwdChangedTime>={cut}) attrs=userPassword {MARK} {us} {clauses}",
            f"{{1}}{where} attrs=userPassword {MARK} {us} by * none",
        ]
        changes = [(ldap3.MODIFY_DELETE, list(ours))] if ours else []
        config.modify(dn, {"olcAccess": [*changes, (ldap3.MODIFY_ADD, new)]})

    def _findings(self) -> tuple[list[Finding], str]:
        """Return what stands in the way, and the names of the loaded modules."""
        try:
            with self._open(config=True) as config:
                dn, rules = self._database(config)
                config.search(dn, "(objectClass=olcPPolicyConfig)", ldap3.LEVEL)
                overlay = bool(config.entries)
                config.search("cn=config", "(objectClass=olcModuleList)", ldap3.LEVEL, attributes=["olcModuleLoad"])
                modules = " ".join(str(v) for e in config.entries for v in e["olcModuleLoad"].values)
        except Unavailable as e:
            remedy = f"give {self.o.config_dn} manage on cn=config, and the second line of the secret its password"
            return [Finding("blocker", f"cn=config cannot be read: {e}", remedy)], ""
        found = []
        if not overlay:
            found.append(
                Finding("blocker", "the overlay ppolicy is not on this database: nothing says when a password was set", "add slapo-ppolicy")
            )
        _, copied = _clauses([r for r in rules if MARK not in r])
        if not copied:
            found.append(
                Finding(
                    "note",
                    "no rule for userPassword that can be repeated: behind the gate people may bind and change their own",
                    "see slapd.access(5)",
                )
            )
        return found, modules


def _clauses(rules: Sequence[str]) -> tuple[str, bool]:
    """Return the `by` clauses of the first rule that speaks of userPassword, and whether there was one that can be repeated as it is."""
    for rule in rules:
        target, by, clauses = re.sub(r"^\{\d+\}", "", rule).partition(" by ")
        if "userpassword" in target.lower() and by and not re.search(r"\b(break|continue)\b", clauses):
            return f"by {clauses}", True
    return "by self write by anonymous auth by * none", False


def _place(rule: str) -> int:
    numbered = re.match(r"\{(\d+)\}", rule)
    return int(numbered[1]) if numbered else 0


def _plain(dn: str) -> str:
    return re.sub(r"\s*([,=])\s*", r"\1", dn.strip().lower())


def _time(stamp: Any) -> datetime:
    """Return the instant of a GeneralizedTime (RFC 4517 s3.3.13) in UTC, to the second; a list of one stands for its value."""
    text = str(stamp[0] if isinstance(stamp, list) else stamp)
    return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%SZ")
