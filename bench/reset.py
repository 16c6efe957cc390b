"""CPU of the reset page per new password, against Argon2id alone and against the stock reset flow of Django.

`./run bench reset [--resets N] [--rounds N]`. Each round runs, in turn: the bare hash (argon2-cffi, m=19456 t=2 p=1, in a process of its
own), our public process (link, form, form sent: three requests), and a stock Django project in a temporary folder (PasswordResetConfirmView,
its templates, validators and sessions as shipped, the same hash price, the same server granian: link, form, form sent, done page: four
requests). CPU is user + system time of the server's processes; PostgreSQL's beside it. Wall-clock on a shared machine is noise.
`share_of_bound` = bare hash / CPU per new password. Bar: ours >= 0.90.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .estate import PASSWORD, Estate, Person, cpu_ms, end, estate, free_port, token_of

ROOT = Path(__file__).parent.parent
AT_A_TIME = 2
HASHES = 40
BARE = """
import time, argon2
h = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16)
h.hash("warm")
c = time.process_time()
for _ in range({n}): h.hash("gravel lantern osprey Tuesday")
print((time.process_time() - c) / {n} * 1000)
"""
SETTINGS = """
SECRET_KEY = {secret!r}
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "stock.urls"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "stock", "USER": {user!r}, "PASSWORD": {password!r},
    "HOST": {host!r}, "PORT": {port!r}, "CONN_MAX_AGE": 60}}}}
INSTALLED_APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware"]
TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {{"context_processors": [
    "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages"]}}}}]
AUTH_PASSWORD_VALIDATORS = [{{"NAME": f"django.contrib.auth.password_validation.{{n}}"}} for n in ("UserAttributeSimilarityValidator",
    "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")]
PASSWORD_HASHERS = ["stock.hashers.SamePrice"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
"""
HASHERS = """
from django.contrib.auth.hashers import Argon2PasswordHasher
class SamePrice(Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 2, 19456, 1
"""
URLS = """
from django.contrib import admin
from django.urls import include, path
urlpatterns = [path("admin/", admin.site.urls), path("", include("django.contrib.auth.urls"))]
"""
WSGI = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "stock.settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
MAKE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "stock.settings"
import django
django.setup()
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.management import call_command
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
call_command("migrate", verbosity=0)
User.objects.bulk_create([User(username=f"u{i}", email=f"u{i}@mail.example", password="argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$x")
    for i in range(int(sys.argv[1]))])
for user in User.objects.order_by("id"):
    print(f"/reset/{urlsafe_base64_encode(force_bytes(user.pk))}/{default_token_generator.make_token(user)}/")
"""


def main() -> None:
    """Run the rounds, print the table, write bench/results/reset.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--resets", type=int, default=120, help="in each round, of each flow")
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    total = chosen.resets * (chosen.rounds + 1)
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder, estate(Path(folder), customers=total) as home:
        ours = home.public()
        with stock(home, total) as (theirs, port, links):
            report(run(home, ours.pid, theirs.pid, port, links, chosen), chosen)
        end(ours)


def run(home: Estate, ours: int, theirs: int, port: int, links: list[str], chosen: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Return milliseconds per new password, of each flow and the bare hash, one per round."""
    found: dict[str, dict[str, list[float]]] = {k: {"cpu": [], "postgres": []} for k in ("argon2id", "tocsin", "django")}
    numbers, left = iter(range(len(links))), iter(links)

    def one_of_ours() -> None:
        person = Person(home.port, "")
        token = token_of(next(numbers))
        assert person.get(f"/passwordchange/t/{token}")[0] == 303
        status, page = person.get("/passwordchange/new")
        assert status == 200, status
        assert person.reset(page) == 200
        person.connection.close()

    def one_of_theirs() -> None:
        visitor = Person(port, "")
        path = next(left)
        visitor.connection.request("GET", path, headers={"Host": f"127.0.0.1:{port}"})
        moved = visitor.connection.getresponse()
        moved.read()
        for line in moved.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            visitor.cookies[name] = value
        form = moved.headers["Location"]
        status, page = visitor.get(form)
        assert status == 200, status
        status, page = visitor.post(form, page, {"new_password1": PASSWORD, "new_password2": PASSWORD})
        assert status == 302, re.sub(r"<[^>]+>", " ", page)[:500]
        assert visitor.get("/reset/done/")[0] == 200
        visitor.connection.close()

    flows: dict[str, tuple[Callable[[], None], int]] = {"tocsin": (one_of_ours, ours), "django": (one_of_theirs, theirs)}
    for n in range(chosen.rounds + 1):  # the first fills caches and is not counted
        bare = subprocess.run([sys.executable, "-c", BARE.format(n=HASHES)], capture_output=True, text=True, check=True)
        spent = {"argon2id": (float(bare.stdout), 0.0)}
        for name, (act, pid) in flows.items() if n % 2 else reversed(flows.items()):
            cpu, postgres = cpu_ms(pid), postgres_ms(home)
            times(act, chosen.resets)
            spent[name] = ((cpu_ms(pid) - cpu) / chosen.resets, (postgres_ms(home) - postgres) / chosen.resets)
        if n:
            for name, (cpu, postgres) in spent.items():
                found[name]["cpu"].append(cpu)
                found[name]["postgres"].append(postgres)
            print("  ".join(f"{k} {v[0]:.1f} ms" for k, v in spent.items()), file=sys.stderr)
    return found


def times(act: Callable[[], None], n: int) -> None:
    """Do something n times, AT_A_TIME at once. A failure ends the bench."""
    left, failures = iter(range(n)), []

    def work() -> None:
        try:
            for _ in left:
                act()
        except (AssertionError, OSError, http.client.HTTPException) as e:
            failures.append(e)

    threads = [threading.Thread(target=work) for _ in range(AT_A_TIME)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise SystemExit(f"a reset failed: {failures[0]!r}")


def postgres_ms(home: Estate) -> float:
    """Return milliseconds of CPU that the database's processes have used, ended ones included."""
    postmaster, ticks = int((home.home / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0]), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == postmaster or stat.parent.name == str(postmaster):
                ticks += sum(int(x) for x in (fields[11:15] if stat.parent.name == str(postmaster) else fields[11:13]))
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def stock(home: Estate, users: int) -> Iterator[tuple[subprocess.Popen[bytes], int, list[str]]]:
    """Start a stock Django project on the same database server; give its process, port and one reset link per user."""
    from django.db import connection

    from tocsin.cli.processes import GRANIAN, THREADS

    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE stock")
    parts, port, folder = urlsplit(home.owner_dsn), free_port(), home.home / "site"
    (folder / "stock").mkdir(parents=True)
    owner = {"user": parts.username, "password": parts.password, "host": parts.hostname, "port": str(parts.port)}
    for name, text in (
        ("__init__", ""),
        ("settings", SETTINGS.format(secret=secrets.token_hex(32), **owner)),
        ("hashers", HASHERS),
        ("urls", URLS),
        ("wsgi", WSGI),
        ("make", MAKE),
    ):
        (folder / "stock" / f"{name}.py").write_text(text)
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"} | {"PYTHONPATH": str(folder)}
    made = subprocess.run(
        [sys.executable, "-m", "stock.make", str(users)], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise SystemExit(made.stderr[-2000:])
    options = ("--port", str(port), "--workers", "1", "--blocking-threads", str(THREADS["public"]))
    with (home.home / "stock.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "granian", *GRANIAN, *options, "stock.wsgi:application"],
            env=env,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                if Person(port, "").get("/reset/done/")[0] == 200:
                    break
            time.sleep(0.1)
        yield process, port, made.stdout.split()
    finally:
        end(process)


def report(found: dict[str, dict[str, list[float]]], chosen: argparse.Namespace) -> None:
    """Print the table; write the JSON. The share of the bound is the median over the rounds of each round's own ratio."""
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())
    rows: dict[str, dict[str, Any]] = {}
    for name, label in (("argon2id", "Argon2id alone"), ("tocsin", "tocsin public site"), ("django", "stock Django flow")):
        cpu = found[name]["cpu"]
        shares = [bare / each for bare, each in zip(found["argon2id"]["cpu"], cpu, strict=True)]
        rows[label] = {
            "cpu_ms_median": statistics.median(cpu),
            "cpu_ms_min": min(cpu),
            "cpu_ms_max": max(cpu),
            "postgres_ms_median": statistics.median(found[name]["postgres"]),
            "share_of_bound": statistics.median(shares),
        }
    result = {
        "bench": "reset",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} x {processor}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "resets": chosen.resets,
        "rounds": chosen.rounds,
        "share_of_bound": rows["tocsin public site"]["share_of_bound"],
        "share_of_bound_django": rows["stock Django flow"]["share_of_bound"],
        "rows": rows,
    }
    for label, row in rows.items():
        print(f"{label:22}" + "".join(f"{k.replace('_', ' ')} {v:8.2f}   " for k, v in row.items()))
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    (folder / "reset.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
