"""What a trip needs around it: the estate it runs in, its team with their keys, its waits, and the witnesses it asks."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

from tocsin.credentials import actions as credentials
from tocsin.credentials.types import CutoverStatus
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.incidents import queries as incidents_known
from tocsin.incidents.types import STATES
from tocsin.kernel import clock, config
from tocsin.kernel.errors import NotFound, Refused, Unavailable, ensure
from tocsin.kernel.localpg import tied
from tocsin.kernel.private import Private
from tocsin.mail import queries as mail
from tocsin.notices import queries as notices
from tocsin.notices.types import MailingState
from tocsin.staff import actions as staff
from tocsin.subjects import queries as subjects
from tocsin.support import queries as desk

from . import people
from .crew import CrewReport
from .run import Figures, Run
from .scenario import FOLDER, Scenario
from .witness import answers_received

TEAM: dict[str, tuple[str, ...]] = {
    "commander": ("commander", "evidence_custodian"),
    "legal": ("legal",),
    "communications": ("communications",),
    "identity": ("identity",),
    "mail-operator": ("mail_operator",),
    "support-lead": ("support_lead",),
}
CONSOLE_USER = "commander"
DRAFTED_MAX = 20  # simulated colleagues at the desk; the real staff of the story had 2,000
WAIT_S_MAX = 600.0
READY_S_MAX = 90.0
POLL_S = 0.25
VAULT_S_MAX = 3600.0
PROOF_FILES = ("event.json", "salt", "leaf", "proof")
T = TypeVar("T")


class Drill:
    """One drill on one estate. Its methods are the plumbing; what happens stands in `trip`."""

    def __init__(self, scenario: Scenario, *, customers: int, seed: int, run: Run) -> None:
        self.scenario, self.customers, self.seed, self.run = scenario, customers, seed, run
        current = config.current()
        self.home, self.folder, self.by = current.home, run.folder, "drill"
        self.public_url = f"http://127.0.0.1:{current.web.public_port}"
        self.office_url = f"http://127.0.0.1:{current.practice.http_port}"
        self.texts = FOLDER / scenario.path.stem
        self.mapping, self.answers = self.texts / "customers.mapping.toml", self.texts / "answers.toml"

    # -- people ---------------------------------------------------------------------------------------------------------

    @property
    def drafted(self) -> list[str]:
        """Return the names of the drafted colleagues."""
        return [f"colleague-{n + 1:02d}" for n in range(DRAFTED_MAX)]

    def enrol_team(self) -> Figures:
        """Enrol the team; the console's user gets a password, which is shown once when the drill ends and kept nowhere else in clear."""
        at = clock.now()
        password = secrets.token_urlsafe(12)
        for name, roles in TEAM.items():
            staff.add_operator(name=name, roles=roles, at=at, by=self.by, password=Private(password) if name == CONSOLE_USER else None)
        for name in self.drafted:
            staff.add_operator(name=name, roles=("drafted",), at=at, by=self.by)
        file = self.folder / "console-password"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(password)
        return {"team": len(TEAM), "drafted": DRAFTED_MAX}

    def console_password(self) -> tuple[str, str] | None:
        """Return name and password for the console and forget the password; None when it was shown before."""
        file = self.folder / "console-password"
        try:
            password = file.read_text()
        except FileNotFoundError:
            return None
        file.unlink()
        return CONSOLE_USER, password

    def keys(self, *names: str) -> list[tuple[str, Path]]:
        """Return operators with their key files."""
        return [(name, self.home / "keys" / "operators" / f"{name}.key") for name in names]

    def approved(self, act: Callable[[int | None], T], *signers: str) -> T:
        """Do an act that needs two people: ask, have each signer sign with their own key, and do it."""
        try:
            return act(None)
        except Refused as waiting:
            if waiting.approval is None:
                raise
            for name, file in self.keys(*signers):
                staff.sign_with_key_file(waiting.approval, operator=name, key_file=file, at=clock.now())
            return act(waiting.approval)

    def people(self, size: int) -> Iterator[people.Person]:
        """Yield simulated customers, always the same for a seed."""
        return people.people(self.seed, customers=self.customers, size=min(size, self.customers))

    @property
    def incident(self) -> int:
        """Return the incident this drill declared."""
        return int(self.run.figures("declare")["incident"])

    def keep_instant(self, name: str) -> datetime:
        """Return an instant, whole seconds, that stays the same however often the run is resumed."""
        return clock.parse_iso(self.run.keep(name, lambda: clock.iso(clock.now().replace(microsecond=0))))

    def advance(self, state: str) -> None:
        """Move the incident on to a state, unless it stands there or further on already."""
        if STATES.index(incidents_known.incident(self.incident).state) < STATES.index(state):
            incidents.advance(self.incident, state=state, at=clock.now(), by="commander")

    def cutover_found(self, standing: CutoverStatus) -> Figures:
        """Return the figures of a cutover that an interrupted run had committed; its milliseconds went with that process."""
        if standing.state == "committed" and standing.cutover is not None:
            credentials.seal(standing.cutover, at=clock.now(), by="identity")
        after = credentials.try_canaries(standing.cutover or 0, at=clock.now())
        ensure(after.accepted == 0, f"canaries that survived: {after.survivors}")
        self.advance("contained")
        return {
            "commit_ms": None,
            "sealed_ms": None,
            "epoch": standing.epoch,
            "nodes": len(standing.nodes),
            "canaries_refused": after.refused,
        }

    def mailing_found(self) -> int | None:
        """Return the mailing that an interrupted run had started, None if there is none."""
        try:
            found = notices.latest_status(self.incident)
        except NotFound:
            return None
        return None if found.state == MailingState.READY else found.mailing

    def progress(self, done: int) -> None:
        """Show how far the step has come."""
        self.run.progress(done, self.customers)

    # -- other processes ------------------------------------------------------------------------------------------------

    def vault(self, *arguments: object) -> dict[str, Any]:
        """Run a command of the vault's own program and return its JSON. Raises Unavailable with what it said."""
        command = [sys.executable, "-P", "-m", "tocsin_vault", *map(str, arguments), "--home", str(self.home), "--json"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_DATABASE")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=VAULT_S_MAX, **tied(signal.SIGKILL))
        if done.returncode:
            raise Unavailable("vault", (done.stdout + done.stderr).strip()[-1000:])
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def wait(self, what: str, condition: Callable[[], bool], *, limit_s: float = WAIT_S_MAX) -> None:
        """Wait, bounded, until a condition holds. Raises Unavailable with what was waited for."""
        pause, end = threading.Event(), clock.monotonic() + limit_s
        while not condition():
            if clock.monotonic() > end:
                raise Unavailable("estate", f"waited {limit_s:.0f} s for {what}; see {self.home / 'logs'}")
            pause.wait(POLL_S)

    def wait_until_ready(self) -> None:
        """Wait until the processes of the estate answer: both sites, the post office, the intake and the vault."""
        current = config.current()
        for url in (f"{self.public_url}/", f"{self.office_url}/api/counts", f"http://127.0.0.1:{current.web.console_port}/sign-in"):
            self.wait(url, lambda url=url: _answers(url), limit_s=READY_S_MAX)  # type: ignore[misc]
        self.wait("the intake", lambda: _listens(current.intake.host, current.intake.port), limit_s=READY_S_MAX)

    def wait_for_mailing(self, mailing: int) -> Figures:
        """Wait until a mailing has ended; check that nobody was lost and that the post office saw what our tables say."""

        def ended() -> bool:
            status = notices.status(mailing)
            self.run.progress(status.recipients - status.waiting, status.recipients)
            return bool(status.state == MailingState.ENDED)

        self.wait("the mailing to end", ended)
        return {**self.mailing_figures(), "mailing": mailing}

    def mailing_figures(self) -> Figures:
        """Return the mailing as it stands now; check that nobody was lost and that every recipient is in exactly one place."""
        status = notices.latest_status(self.incident)
        ensure(status.lost == 0 and status.waiting == 0, f"{status.lost} lost, {status.waiting} not tried")
        told = status.handed_over + status.deferred + status.bounced + status.letters
        ensure(status.recipients == told, f"{status.recipients} recipients, {told} accounted for")
        return {
            "recipients": status.recipients,
            "handed_over": status.handed_over,
            "lost": status.lost,
            "duplicates": self.office("/api/counts")["surplus"],
            "in_doubt": status.in_doubt,
            "deferred": status.deferred,
            "bounced": status.bounced,
            "letters": status.letters,
            "rate_per_s": status.rate_per_s,
            "merged": status.merged,
        }

    def office(self, path: str) -> dict[str, Any]:
        """Ask the practice post office, the witness of every mail."""
        with urlopen(self.office_url + path, timeout=60) as reply:  # noqa: S310 - our own post office on loopback
            document: dict[str, Any] = json.load(reply)
        return document

    # -- the desk -------------------------------------------------------------------------------------------------------

    def write_letters(self) -> Figures:
        """Have simulated customers write, and wait until every message of theirs stands at the desk."""
        wanted, current = self.scenario.drill, config.current()
        written = people.write_in(
            self.people(wanted.writers(self.customers)),
            seed=self.seed,
            host=current.intake.host,
            port=current.intake.port,
            at=self.keep_instant("letters_at") - timedelta(minutes=30),
            help_address=current.mail.help_address,
            office_url=self.office_url,
            twice=wanted.write_twice,
            auto=wanted.write_auto,
        )
        ensure(written.refused == 0, f"{written.refused} letters were refused")
        (self.folder / "written.json").write_text(json.dumps([[w.message_id, w.email, w.kind, w.urgent] for w in written.written]))

        def arrived() -> bool:
            received = desk.status().received
            self.run.progress(received, written.sent)
            return received >= written.sent

        self.wait("every letter to reach the desk", arrived)
        return {"people": written.people, "sent": written.sent, "auto": written.auto, "urgent": written.urgent}

    def check_answers(self, done: CrewReport) -> Figures:
        """Wait until the answers are out; count at the post office who got one, and who got the answer to another question."""
        written = json.loads((self.folder / "written.json").read_text())
        status = desk.status()
        ensure(status.received == status.answered + status.open, f"the desk does not close: {status}")
        asked = {email for _, email, kind, _ in written if kind != "auto"}
        self.wait("the answers to leave", lambda: mail.singles_waiting() == 0)
        seen = answers_received(self.office, self.answers, written)
        return {
            "received": status.received,
            "urgent": sum(urgent for _, _, _, urgent in written),
            "answered": status.answered,
            "bulk_answered": status.bulk_answered,
            "wrong_answers": seen.wrong,
            "open": status.open,
            "oldest_open_s": status.oldest_s,
            "max_wait_s": round(desk.longest_wait_s(), 1),
            "people_answered": seen.answered,
            "people_not_reached": len(asked) - seen.answered,  # their mailboxes take no mail: the post office refused the answer
            "releases": done.releases,
        }

    # -- proof ----------------------------------------------------------------------------------------------------------

    def prove_one(self) -> Figures:
        """Prove one customer's notification and leave the files where an outsider can take them."""
        customer, subject, entry = self._somebody_told()
        proof = evidence.prove(entry, subject_salt=subjects.salts([subject])[subject])
        folder = self.folder / "proof"
        folder.mkdir(exist_ok=True)
        for name, content in zip(PROOF_FILES, (proof.event_json, proof.salt, proof.leaf, proof.tlog_proof.encode()), strict=True):
            (folder / name).write_bytes(content)
        (folder / "log.vkey").write_text(evidence.vkeys(self.home)[0] + "\n")
        return {"proved_customer": customer, "proof_bytes": len(proof.tlog_proof), "proof": str(folder)}

    def _somebody_told(self) -> tuple[str, int, int]:
        """Return customer number, subject and entry of the first simulated customer to whom the notice was handed over."""
        for person in self.people(self.customers):
            subject = subjects.by_external_ids([person.customer_id]).get(person.customer_id)
            for entry in evidence.entries_of_subject(subject) if subject is not None else []:
                if subject is not None and entry.type == EventType.NOTICE_HANDED_OVER:
                    return person.customer_id, subject, entry.id
        raise NotFound("the notice was handed over to nobody")


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as reply:  # noqa: S310 - processes of this estate on loopback
            return bool(reply.status == HTTPStatus.OK)
    except OSError:
        return False


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True
