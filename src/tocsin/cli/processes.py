"""One process each, for one machine or many: console, public, api, intake, worker, sequencer, postoffice, vault."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType
from typing import Annotated

import typer

from tocsin.kernel import config, logs

from . import output
from .supervisor import Child, Supervisor

GRANIAN = ("--interface", "wsgi", "--host", "127.0.0.1", "--no-ws", "--workers-kill-timeout", "5", "--no-access-log")
# The public site needs more threads than its bounded queue of hashes (4 x cores) holds, or nobody is left to serve the waiting page.
THREADS = {"console": 4, "public": 32, "api": 8}
WORKERS_STOP_S_MAX = 0.4  # below the supervisor's own, which stops us
GENERAL_JOBS = 4  # jobs at a time in the general worker
URGENT_JOBS = 4  # and in the one that a mailing cannot fill


def register(app: typer.Typer) -> None:
    """Add the process commands."""
    for command in (console, public, api, intake, worker, sequencer, postoffice):
        app.command()(command)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(vault)


def as_process(name: str) -> config.Config:
    """Become the named process: load settings, send logs to standard error as JSON; return the configuration."""
    os.environ["TOCSIN_PROCESS"] = name
    logs.configure(name)
    import django

    django.setup()
    return config.current()


def stop_event() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def site_command(site: str, *, port: int) -> list[str]:
    """Return how a web process is started; never by hand, for granian hangs when SIGINT reaches its whole group (granian#651)."""
    options = ("--port", str(port), "--workers", "1", "--blocking-threads", str(THREADS[site]))
    return [sys.executable, "-P", "-m", "granian", *GRANIAN, *options, f"tocsin.web.{site}.wsgi:application"]


def _site(site: str, port: int) -> None:
    env = os.environ | {"TOCSIN_PROCESS": site}
    supervisor = Supervisor(config.current().home / "logs", pid_file=f"{site}.json")
    supervisor.start(Child(site, site_command(site, port=port), env, death_signal=signal.SIGTERM, foreground=True, pass_output=True))
    try:
        raise typer.Exit(supervisor.run())
    finally:
        supervisor.stop()


def console() -> None:
    """Serve the console of the response team."""
    _site("console", config.current().web.console_port)


def public() -> None:
    """Serve the public site: the notice and the page for a new password."""
    _site("public", config.current().web.public_port)


def api() -> None:
    """Answer at the gate: may this customer come in, or must there be a new password first? For a company's own programs."""
    _site("api", config.current().web.api_port)


def intake() -> None:
    """Take mail in by LMTP or SMTP: bounces, and letters to the desk."""
    current = as_process("intake")
    from tocsin.mail import intake as server

    server.run(host=current.intake.host, port=current.intake.port, stop=stop_event())


def worker(
    queues: Annotated[
        str, typer.Option(help="Comma-separated queues to serve in this very process; default: all, in processes of their own.")
    ] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Jobs at a time in this process.")] = 1,
) -> None:
    """Run jobs. Without --queues: one process for general jobs, one for urgent ones, one per core for mail, each with its heartbeat."""
    if queues:
        as_process("worker")
        from tocsin.kernel import jobs

        jobs.run_worker(queues=queues.split(","), concurrency=concurrency, name=f"{socket.gethostname()}:{os.getpid()}")
        return
    supervisor = Supervisor(config.current().home / "logs", pid_file="workers.json", stop_s_max=WORKERS_STOP_S_MAX)
    me = (sys.executable, "-P", "-m", "tocsin.cli", "worker", "--queues")
    env = os.environ | {"TOCSIN_PROCESS": "worker"}
    supervisor.start(Child("worker-general", (*me, "general", "--concurrency", str(GENERAL_JOBS)), env))
    supervisor.start(Child("worker-urgent", (*me, "urgent", "--concurrency", str(URGENT_JOBS)), env))
    for n in range(os.cpu_count() or 1):
        supervisor.start(Child(f"worker-mail-{n + 1}", (*me, "mail"), env))
    try:
        raise typer.Exit(supervisor.run())
    finally:
        supervisor.stop()


def sequencer() -> None:
    """Order events into the log, sign checkpoints. One per estate does the work; others wait."""
    current = as_process("sequencer")
    from tocsin.evidence import sequencer as process

    process.run(home=current.home, stop=stop_event())


def postoffice() -> None:
    """Run the practice post office: takes all mail of a demo or drill estate, delivers none."""
    current = as_process("postoffice")
    from tocsin.drills import postoffice as process

    process.run(smtp_port=current.practice.smtp_port, http_port=current.practice.http_port, home=current.home, stop=stop_event())


def vault(context: typer.Context) -> None:
    """Run the card vault's own program: init, import, serve, status, audit, seal."""
    current = config.current()
    command = [sys.executable, "-P", "-m", "tocsin_vault", *context.args, "--home", str(current.home)]
    raise typer.Exit(subprocess.run([*command, "--json"] if output.as_json else command, check=False).returncode)
