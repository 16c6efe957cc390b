"""Sessions in Redis, ended in one step under an unmodified shop.

`mode = "swapdb"`: the shop's logical database is swapped with an empty one (`SWAPDB`, O(1)): every client that is connected to it sees
the empty one from that instant, without reconnecting; the old sessions lie whole in the other, and `abort` swaps back. The mark of the
cutover is a key in the spare database and travels with the swap, so the state is as atomic as the gate. The database must hold nothing but
sessions (and what may be lost: a cache); `probe` looks.

`mode = "prefix"`: the shop's key prefix, which stands in a file that the shop reads (`KEY_PREFIX` of a Django cache is one), is replaced
and the shop reloaded. For a Redis Cluster (no SWAPDB there) and for databases that hold more than sessions. The one step is the reload.

What a gate cannot see: a request that read its session before the swap may write it back after it. Such a key has the same name as an old
one, so `gate`, `status` and `drain` remove from the live database what also lies in the old. A shop that keeps a session's id across log-in
would lose that new session to the same rule; frameworks that renew the id (Django, Rails, Spring) do not.

`abort` brings the old sessions back; new ones that were made since are moved along, key by key, and live on, except where the same name
exists in both. `drain` deletes the old sessions for good.

Classes: session only; `set_password` raises BadInput. The door is the shop's own page (`door_url`, the canary's cookie is shown to it),
or, without it, the live database as the shop sees it. `plant_command` makes a session of the shop's own kind and prints its cookie's value;
without it a canary is a key of ours, which proves the store and not the shop. Source: Redis 7 command reference, SWAPDB, MOVE, SCAN.
"""

from __future__ import annotations

import json
import secrets as randomness
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast

import httpx
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tocsin.credentials.port import Changed, Drained, Finding, Gated, Presented, Probe, State, TargetCanary, TargetStatus
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Refused, Unavailable
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private

from ._files import ValueFile, run
from ._http import wanted

MARK = "tocsin:mark"
SCAN_COUNT = 1000
SAMPLE_KEYS_MAX = 10_000  # looked at by `probe`
SWEEP_KEYS_MAX = 200_000  # live keys compared with the old ones in one sweep
MOVE_KEYS_MAX = 1_000_000  # new sessions taken along by an abort
TIMEOUT_S = 5.0
CANARY_S = 14 * 86_400  # a canary session lives two weeks, as long as Django's


class Adapter:
    """The port over one Redis server."""

    kind = "redis-sessions"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"host": str, "port": int, "database": int, "mode": str},
                       {"spare_database": int, "key_prefix": str, "username": str, "tls": bool, "door_url": str, "cookie": str,
                        "plant_command": list, "prefix_file": str, "prefix_format": str, "prefix_variable": str, "reload": list,
                        "timeout_s": float})  # fmt: skip
        if taken["mode"] not in ("swapdb", "prefix"):
            raise BadInput.of("mode", taken["mode"], "`swapdb` or `prefix`")
        if taken["mode"] == "swapdb" and taken.get("spare_database") in (None, taken["database"]):
            raise BadInput.of("spare_database", taken.get("spare_database"), "an empty database other than the shop's")
        if taken["mode"] == "prefix" and "prefix_file" not in taken:
            raise BadInput.of("prefix_file", None, "the file where the shop reads its key prefix")
        self.name, self._options, self._port, self._secret = name, taken, f"redis {name}", secret
        self._live_db, self._spare_db = int(taken["database"]), int(taken.get("spare_database", -1))
        self._swap = taken["mode"] == "swapdb"
        self._prefix = ValueFile(taken.get("prefix_file", ""), taken.get("prefix_format", "raw"), taken.get("prefix_variable", "KEY_PREFIX"),
                                 self._port)  # fmt: skip
        self._opened: dict[int, redis.Redis] = {}

    def __repr__(self) -> str:
        return f"Adapter({self.name}: {self._options['host']}:{self._options['port']}/{self._live_db})"

    def _db(self, number: int) -> redis.Redis:
        if number not in self._opened:
            # The client repeats nothing: a SWAPDB that is sent twice swaps back.
            timeout = float(self._options.get("timeout_s", TIMEOUT_S))
            self._opened[number] = redis.Redis(
                host=self._options["host"], port=self._options["port"], db=number, username=self._options.get("username"),
                password=self._secret.reveal() if self._secret else None, ssl=self._options.get("tls", False),
                socket_timeout=timeout, socket_connect_timeout=timeout, decode_responses=False, retry=Retry(NoBackoff(), 0))  # fmt: skip
        return self._opened[number]

    @property
    def _live(self) -> redis.Redis:
        return self._db(self._live_db)

    @property
    def _spare(self) -> redis.Redis:
        return self._db(self._spare_db)

    def reach(self) -> Literal["loopback", "world"]:
        """Return `loopback` for a server on this machine."""
        return "loopback" if is_local(self._options["host"]) else "world"

    def probe(self) -> Probe:
        """Count the sessions and look for what is none, for a replica, a cluster, and a spare database that is not empty."""
        with self._asking("probe"):
            subjects, findings = self._count(), self._findings()
        return Probe(kind=self.kind, subjects=subjects, classes=("session",), formats=(), write_rate_per_s=None, drain_eta_s=None,
                     findings=tuple(findings))  # fmt: skip

    def _count(self) -> int:
        prefix = self._key_prefix()
        if not prefix and self._swap:
            return int(self._live.dbsize()) - int(bool(self._live.exists(MARK)))
        return sum(1 for _ in self._live.scan_iter(match=_glob(prefix), count=SCAN_COUNT))

    def _findings(self) -> list[Finding]:
        found = []
        server = self._live.info()
        if server.get("role") != "master":
            found.append(Finding("blocker", "this server is a replica: it takes no writes", "name the primary as host"))
        if "door_url" not in self._options:
            found.append(
                Finding("note", "canaries look into the database as the shop does, not at the shop itself", "name a page as door_url")
            )
        if not self._swap:
            self._prefix.get()
            return found
        if server.get("redis_mode") == "cluster":
            found.append(Finding("blocker", "a Redis Cluster has one database only", 'use mode = "prefix"'))
            return found
        mark = self._mark()
        if mark is None and self._spare.dbsize():
            found.append(
                Finding("blocker", f"the spare database {self._spare_db} is not empty", "empty it, or name another as spare_database")
            )
        prefix, strange = self._key_prefix().encode(), 0
        for k, key in enumerate(self._live.scan_iter(count=SCAN_COUNT)):
            strange += not key.startswith(prefix) and key != MARK.encode()
            if k >= SAMPLE_KEYS_MAX:
                break
        if strange:
            found.append(Finding("blocker", f"the database holds at least {strange} keys that are no sessions (they do not begin with the key "
                                            "prefix): the swap would take them away too",
                                 'move the sessions to a database of their own, or use mode = "prefix"'))  # fmt: skip
        return found

    def _key_prefix(self) -> str:
        return self._prefix.get() if not self._swap else str(self._options.get("key_prefix", ""))

    def arm(self) -> None:
        """Write the mark. Raises Refused for a blocker."""
        with self._asking("arm"):
            if self._state() != "open":
                return
            blockers = [f for f in self._findings() if f.level == "blocker"]
            if blockers:
                raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
            mark = json.dumps({"name": self.name, "old_prefix": "" if self._swap else self._key_prefix()})
            (self._spare if self._swap else self._live).set(MARK, mark)

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Swap, or replace the prefix and reload. Called again it only sweeps what was written back."""
        with self._asking("gate"):
            state = self._state()
            if state == "open":
                raise Refused("the gate of this connector is not armed: arm it first")
            if state != "armed":
                if not self._swap:
                    self._reload()  # perhaps what a crash left out
                self._sweep()
                return Gated(0.0, "already gated")
            mark = {**(self._mark() or {}), "gated_at": clock.iso(at), "epoch": epoch}
            if self._swap:
                began = time.monotonic()
                self._swap_once(json.dumps(mark))
            else:
                mark["new_prefix"] = f"t{randomness.token_hex(6)}:"
                self._live.set(MARK, json.dumps(mark))
                began = time.monotonic()
                self._prefix.put(mark["new_prefix"])
                self._reload()
            took = (time.monotonic() - began) * 1000
            self._sweep()
        return Gated(took, f"databases {self._live_db} and {self._spare_db} swapped" if self._swap else "the shop reads a new key prefix")

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Make sessions of ours in the live database."""
        if not 1 <= n <= 100:
            raise BadInput.of("n", n, "1 to 100 canaries")
        planted = []
        with self._asking("plant"):
            for k in range(n):
                if "plant_command" in self._options:
                    identity = run(self._options["plant_command"], self._port, "the plant command").strip()
                else:
                    identity = f"tocsin-canary-{randomness.token_hex(16)}"
                    self._live.set(self._key_prefix() + identity, b"tocsin canary", ex=CANARY_S)
                planted.append(TargetCanary(f"canary-{k}-{randomness.token_hex(4)}", "canary", {"session": Private(identity)}))
        return planted

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Show the session to the shop's page, or look for it where the shop does."""
        answers = []
        for cred_class, secret in canary.secrets.items():
            if "door_url" in self._options:
                accepted, detail = shown_to_page(self._options["door_url"], self._options.get("cookie", "sessionid"), secret, self._port)
            else:
                with self._asking("present"):
                    accepted = bool(self._live.exists(self._key_prefix() + secret.reveal()))
                detail = "the session is there" if accepted else "no such session"
            answers.append(Presented(canary.account, cred_class, accepted, detail))
        return answers

    def uproot(self, canary: TargetCanary) -> None:
        """Delete a session of ours, on both sides of the gate."""
        with self._asking("uproot"):
            mark = self._mark() or {}
            for secret in canary.secrets.values():
                if self._swap:
                    key = self._key_prefix() + secret.reveal()
                    self._live.delete(key)
                    self._spare.delete(key)
                else:
                    self._live.delete(*(p + secret.reveal() for p in {self._key_prefix(), mark.get("old_prefix", "")}))

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Delete up to `limit` old sessions for good, and what was written back under their names."""
        with self._asking("drain"):
            state = self._state()
            if state not in {"gated", "draining", "drained"}:
                raise Refused("draining stands behind the gate: gate this connector first")
            mark = self._mark() or {}
            if state != "draining":
                self._live.set(MARK, json.dumps({**mark, "draining": True}))
            holder = self._spare if self._swap else self._live
            keys = []
            for key in holder.scan_iter(match=None if self._swap else _glob(mark["old_prefix"]), count=max(limit, SCAN_COUNT)):
                keys.append(key)
                if len(keys) >= limit:
                    break
            if keys:
                holder.unlink(*keys)
                if self._swap:
                    self._live.unlink(*(key for key in keys if key != MARK.encode()))
            if len(keys) < limit:
                self._live.set(MARK, json.dumps({**mark, "draining": True, "drained": True}))
                return Drained(len(keys), {}, None)
        return Drained(len(keys), {}, "more")

    def abort(self) -> None:
        """Bring the old sessions back, and take the new ones along. Raises Refused once draining has begun."""
        with self._asking("abort"):
            state = self._state()
            if state in {"draining", "drained"}:
                raise Refused("draining has begun: sessions that it deleted do not come back")
            mark = self._mark() or {}
            if self._swap:
                if state == "gated":
                    self._swap_once(None)
                # New sessions lie in the spare database now. MOVE leaves a key where it is if the name exists on the other side.
                for moved, key in enumerate(self._spare.scan_iter(count=SCAN_COUNT)):
                    if key != MARK.encode():
                        self._spare.move(key, self._live_db)
                    if moved >= MOVE_KEYS_MAX:
                        raise Unavailable(self._port, "more new sessions than one call moves: abort again")
                # Left over are names that exist on both sides: the old session holds, and the mark goes last.
                self._spare.flushdb()
            else:
                if state == "gated":
                    self._prefix.put(mark["old_prefix"])
                    self._reload()
                    new, old = mark["new_prefix"].encode(), mark["old_prefix"].encode()
                    for key in self._live.scan_iter(match=_glob(mark["new_prefix"]), count=SCAN_COUNT):
                        self._live.renamenx(key, old + key.removeprefix(new))
                self._live.delete(MARK)

    def status(self) -> TargetStatus:
        """Read the mark where it lies now, and sweep what was written back."""
        with self._asking("status"):
            state = self._state()
            mark = self._mark() or {}
            swept = self._sweep() if state in {"gated", "draining"} else 0
        at = clock.parse_iso(mark["gated_at"]) if state != "armed" and "gated_at" in mark else None
        return TargetStatus(state, f"{swept} old sessions were written back and removed" if swept else "", at)

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Raise BadInput: a session store takes no passwords."""
        raise BadInput.of("format", format, "nothing: this connector ends sessions, it holds no passwords")

    def write_rate_limit(self) -> float | None:
        """Return None: no passwords are set here."""
        return None

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return nobody: no passwords are changed here."""
        return Changed((), since or "none")

    # -- the store --------------------------------------------------------------------------------------------------------------

    def _mark(self) -> dict[str, Any] | None:
        # The live one twice: a swap between the two looks carries the mark past the reader.
        for database in (self._live, self._spare, self._live) if self._swap else (self._live,):
            held = cast(bytes | None, database.get(MARK))
            if held is not None:
                return dict(json.loads(held))
        return None

    def _state(self) -> State:
        mark = self._mark()
        if mark is None:
            return "open"
        fallen = bool(self._live.exists(MARK)) if self._swap else mark.get("new_prefix") == self._prefix.get()
        if not fallen:
            return "armed"
        return "drained" if mark.get("drained") else "draining" if mark.get("draining") else "gated"

    def _swap_once(self, mark: str | None) -> None:
        """Swap, unless another worker has. `mark` is what the live database says after a gate; None swaps back.

        One transaction (WATCH, MULTI, EXEC): the mark lies on the other side until the very swap, so an even number of workers do not
        open the gate again.
        """
        pipe: Any = self._live.pipeline(transaction=True)
        try:
            pipe.watch(MARK)
            if bool(pipe.exists(MARK)) == (mark is not None):
                return
            pipe.multi()
            pipe.execute_command("SWAPDB", self._live_db, self._spare_db)
            if mark is not None:
                pipe.set(MARK, mark)
            pipe.execute()
        except redis.WatchError:
            return  # swapped in between, by the same gate or abort
        finally:
            pipe.reset()

    def _sweep(self) -> int:
        """Remove live sessions whose name lies among the old ones; return how many."""
        if not self._swap:
            return 0  # what is written back under the old prefix is read by nobody
        keys: list[bytes] = []
        removed = 0
        for seen, key in enumerate(self._live.scan_iter(count=SCAN_COUNT)):
            if key != MARK.encode():
                keys.append(key)
            if len(keys) >= SCAN_COUNT:
                removed += self._remove_old(keys)
                keys = []
            if seen >= SWEEP_KEYS_MAX:
                break
        return removed + self._remove_old(keys)

    def _remove_old(self, keys: list[bytes]) -> int:
        if not keys:
            return 0
        pipe = self._spare.pipeline(transaction=False)
        for key in keys:
            pipe.exists(key)
        old = [key for key, there in zip(keys, pipe.execute(), strict=True) if there]
        return int(self._live.unlink(*old)) if old else 0

    def _reload(self) -> None:
        if self._options.get("reload"):
            run(self._options["reload"], self._port, "the reload command")

    def _asking(self, what: str) -> _Asking:
        return _Asking(self._port, what)


class _Asking:
    """Turn the client's errors into Unavailable with the server's reason (READONLY, MISCONF, NOPERM, NOAUTH): codes, no arguments."""

    def __init__(self, port: str, what: str) -> None:
        self._port, self._what = port, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, redis.RedisError):
            words = str(error).split()
            code = words[0] if words and words[0].isupper() else type(error).__name__
            raise Unavailable(self._port, f"{self._what}: {code}{_ADVICE.get(type(error).__name__, '')}") from None


_ADVICE = {
    "ReadOnlyError": " (the server is a replica: name the primary)",
    "ResponseError": " (the server refuses writes: read its log)",
    "NoPermissionError": " (the connector's user lacks a right: +swapdb +@read +@write +@keyspace +info on both databases)",
    "AuthenticationError": " (the connector's password is refused)",
    "ConnectionError": " (no connection)",
    "TimeoutError": " (no answer in time)",
}


def _glob(prefix: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in prefix) + "*"


def shown_to_page(url: str, cookie: str, secret: Private[str], port: str) -> tuple[bool, str]:
    """Show a cookie to a page that is for signed-in people only: 200 lets in; a redirect, 401 or 403 does not. Anything else is Unavailable."""
    try:
        answer = httpx.get(
            url, headers={"Cookie": f"{cookie}={secret.reveal()}"}, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False
        )
    except httpx.HTTPError as e:
        raise Unavailable(port, f"the shop's page does not answer: {type(e).__name__}") from None
    if answer.status_code in (200, 204):
        return True, f"the page answers {answer.status_code}"
    if answer.status_code in (301, 302, 303, 307, 308, 401, 403):
        return False, f"the page answers {answer.status_code}"
    raise Unavailable(port, f"the shop's page answers {answer.status_code}: neither in nor out")
