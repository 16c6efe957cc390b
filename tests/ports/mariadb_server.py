"""A real MariaDB in a folder of its own, on a free port of loopback."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pymysql
import pytest


class MariaServer:
    """Starts `mariadbd`; `sql` speaks to it as root."""

    def __init__(self, folder: Path) -> None:
        if not shutil.which("mariadbd"):
            pytest.skip("no MariaDB here: apt install mariadb-server")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        made = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder}/data",
            "--auth-root-authentication-method=normal",
            "--user=root",
        ]
        subprocess.run(made, check=True, capture_output=True)
        self.program = subprocess.Popen(
            ["mariadbd", "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/s", f"--port={self.port}", "--bind-address=127.0.0.1",
             "--user=root", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(300):
            with contextlib.suppress(pymysql.err.OperationalError):
                self.sql("SELECT 1")
                return
            time.sleep(0.1)
        self.close()
        raise AssertionError("MariaDB did not start")

    def connect(self, database: str | None = None, *, user: str = "root", password: str = "") -> pymysql.Connection[Any]:
        return pymysql.connect(host="127.0.0.1", port=self.port, user=user, password=password, database=database, autocommit=True)

    def sql(self, text: str, *params: Any, database: str | None = None) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.connect(database)) as db, db.cursor() as cursor:
            cursor.execute(text, params or None)
            return list(cursor.fetchall())

    def close(self) -> None:
        self.program.terminate()
        self.program.wait(30)
