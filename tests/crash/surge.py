"""`python -m tests.crash.surge FOLDER public|postgres PEOPLE`: a surge on a real estate, one victim killed with SIGKILL; prints JSON.

Everybody has a reset link and a ticket of one of twelve seconds. They ask in turn whether it is theirs, set a password when it is, and
hold on to their ticket whatever happens.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench.estate import Estate, Person, end, estate, token_of

SECONDS = 12
OVER_S_MAX = 120.0
KILL_AFTER = 10  # passwords set


def main(folder: str, victim: str, people: str) -> None:
    """Run the surge and print what its witnesses saw."""
    with estate(Path(folder), customers=int(people)) as home:
        sys.stdout.write(json.dumps(run(home, victim, int(people))) + "\n")


def run(home: Estate, victim: str, n: int) -> dict[str, Any]:
    """Return the witnesses' report."""
    from tocsin.credentials import actions
    from tocsin.kernel import clock

    actions.set_write_rate("customers", 4.0, at=clock.now(), by="ada")
    process = home.public()
    found: dict[str, Any] = {"killed": [victim, int(signal.SIGKILL)], "tickets_changed": 0, "pages_while_away": 0}
    try:
        start = close_room()
        crowd, places = queue(home, n, start)
        found["waiting_before"] = sum(status(p) == 503 for p in crowd.values())
        admitted: dict[int, int] = {}
        left, killed, until = dict(crowd), False, time.monotonic() + OVER_S_MAX
        sweep = 0
        while left and time.monotonic() < until:
            sweep += 1
            for number in sorted(left, key=lambda one: places[one], reverse=True):  # from the back: nobody is asked before somebody behind
                person = left[number]
                held = person.cookies["tocsin_place"]
                with contextlib.suppress(OSError, http.client.HTTPException):
                    code, page = person.get("/passwordchange/new")
                    if code == 200:
                        admitted.setdefault(number, sweep)
                        if person.reset(page) == 200:
                            del left[number]
                    elif code == 410:  # set, but the answer was lost in the crash
                        del left[number]
                found["tickets_changed"] += code_changed(person, held)
                if not killed and n - len(left) >= KILL_AFTER:
                    killed = True
                    process = kill(home, process, victim, crowd, found)
            time.sleep(0.1)
        found["set"] = n - len(left)
        found["inversion_s"], latest = 0, 0
        for number in range(1, sweep + 1):  # those let through in one sweep were let through together
            seconds = [one % SECONDS for one, when in admitted.items() if when == number]
            found["inversion_s"] = max([found["inversion_s"], *(latest - second for second in seconds)])
            latest = max([latest, *seconds])
        found["at_the_end"] = counts()
    finally:
        end(process)
    return found


def code_changed(person: Person, held: str) -> bool:
    """Tell whether a person's ticket was taken away or replaced; after the new password it is gone."""
    now = person.cookies.get("tocsin_place", "")
    return now not in ("", held)


def close_room() -> int:
    """Close the room as another node does; return its first second."""
    from django.db import connection

    start = int(time.time()) - SECONDS - 3
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT credentials_room_report('elsewhere', ARRAY[]::int[], ARRAY[]::bigint[], ARRAY[]::int[], 0, 0, 0, false, 0, 0, %s)",
            [start],
        )
    return start


def queue(home: Estate, n: int, start: int) -> tuple[dict[int, Person], dict[int, float]]:
    """Give everybody a ticket of one of the seconds, counted as the other node would."""
    import secrets

    from django.db import connection

    from tocsin.credentials.places import Lane, Place
    from tocsin.credentials.room import ticket

    crowd, places = {}, {}
    for number in range(n):
        place = Place((start + number % SECONDS) * 1000, secrets.token_bytes(8), Lane.REGULAR)
        places[number] = place.position
        text = ticket.sign(place, binding=ticket.binding_of(token_of(number)))
        crowd[number] = Person(home.port, token_of(number), cookies={"tocsin_place": text})
    each = [sum(number % SECONDS == s for number in range(n)) for s in range(SECONDS)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT credentials_room_report('elsewhere', %s::int[], %s::bigint[], %s::int[], 0, 0, 0, false, 0, 0, NULL)",
            [[0] * SECONDS, [start + s for s in range(SECONDS)], each],
        )
    return crowd, places


def status(person: Person) -> int:
    """Return the status of the form's page."""
    return person.get("/passwordchange/new")[0]


def kill(home: Estate, process: Any, victim: str, crowd: dict[int, Person], found: dict[str, Any]) -> Any:
    """Kill the victim, and start it again as a supervisor would; return the public process."""
    from django.db import connections

    if victim == "public":
        end(process, how=signal.SIGKILL)
        found["at_the_kill"] = counts()
        return home.public()
    connections.close_all()
    pid = int((home.home / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    time.sleep(1.0)  # the site notices
    last = crowd[max(crowd)]
    with contextlib.suppress(OSError, http.client.HTTPException):
        code, page = last.get("/passwordchange/new")
        found["pages_while_away"] += code == 503 and "People ahead of you" in page
    home.pg.stop()
    os.environ["TOCSIN_DATABASE_URL"] = dsn = home.pg.start()
    move_to(home, dsn)
    found["at_the_kill"] = counts()
    if same_port(home.owner_dsn, dsn):
        return process
    end(process)  # the server came back at another port: whoever is told a new address is started anew
    return home.public()


def move_to(home: Estate, dsn: str) -> None:
    """Point ourselves, and the public process when it is started again, to where the database is now."""
    from urllib.parse import urlsplit

    from django.conf import settings
    from django.db import connections

    parts = urlsplit(dsn)
    connections["default"].settings_dict.update(PORT=str(parts.port), PASSWORD=parts.password or "")
    settings.DATABASES["default"].update(PORT=str(parts.port), PASSWORD=parts.password or "")
    public = urlsplit(home.public_dsn)
    home.public_dsn = public._replace(netloc=public.netloc.rpartition(":")[0] + f":{parts.port}").geturl()


def same_port(one: str, other: str) -> bool:
    """Tell whether two connection strings name one port."""
    from urllib.parse import urlsplit

    return urlsplit(one).port == urlsplit(other).port


def counts() -> list[int]:
    """Return links spent, passwords changed, and entries of the log about it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM credentials_resettoken WHERE used_at IS NOT NULL), "
            "(SELECT count(*) FROM credentials_credential WHERE class = 'password' AND version > 0), "
            "(SELECT count(*) FROM evidence_event WHERE type = 61)"
        )
        return list(cursor.fetchone())


if __name__ == "__main__":
    main(*sys.argv[1:])
