"""A real slapd in a folder of its own, on a free port of loopback, with cn=config, ppolicy and people."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

import ldap3
import pytest

SUFFIX = "dc=shop,dc=example"
PEOPLE_BASE = f"ou=people,{SUFFIX}"
GATE, ROOT = f"cn=gate,{SUFFIX}", f"cn=root,{SUFFIX}"
WORD, CONFIG_WORD = "gate-keeper-4b7a", "config-keeper-8e2f"
CONFIG = """dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: {folder}/pid

dn: cn=module,cn=config
objectClass: olcModuleList
cn: module
olcModulePath: {modules}
olcModuleLoad: back_mdb
olcModuleLoad: ppolicy

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file://{schema}/core.ldif
include: file://{schema}/cosine.ldif
include: file://{schema}/inetorgperson.ldif

dn: olcDatabase=config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: config
olcRootDN: cn=admin,cn=config
olcRootPW: {config_word}

dn: olcDatabase=mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: mdb
olcDbDirectory: {folder}/data
olcSuffix: {suffix}
olcRootDN: {root}
olcRootPW: root
olcDbIndex: objectClass,uid,pwdChangedTime eq
olcAccess: to attrs=userPassword by dn.exact="{gate}" write by self write by anonymous auth by * none
olcAccess: to * by dn.exact="{gate}" write by self write by * read

{overlay}"""
OVERLAY = """dn: olcOverlay=ppolicy,olcDatabase={1}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcPPolicyConfig
olcOverlay: ppolicy
olcPPolicyDefault: cn=policy,dc=shop,dc=example
"""


class SlapdServer:
    """Starts `slapd`; people sign in by `ldapwhoami`."""

    def __init__(self, folder: Path, *, ppolicy: bool = True) -> None:
        if not shutil.which("slapd") or not shutil.which("ldapwhoami"):
            pytest.skip("no OpenLDAP here: apt install slapd ldap-utils")
        self.folder = folder
        (folder / "data").mkdir()
        (folder / "config").mkdir()
        text = CONFIG.format(folder=folder, modules="/usr/lib/ldap", schema="/etc/ldap/schema", config_word=CONFIG_WORD, suffix=SUFFIX, root=ROOT,
                             gate=GATE, overlay=OVERLAY if ppolicy else "")  # fmt: skip
        (folder / "config.ldif").write_text(text)
        made = ["slapadd", "-n0", "-F", str(folder / "config"), "-l", str(folder / "config.ldif")]
        subprocess.run(made, check=True, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.program: subprocess.Popen[bytes] | None = None
        self.start()
        try:
            self._fill(ppolicy=ppolicy)
        except BaseException:
            self.close()  # a server that nobody was given would run on
            raise

    def _fill(self, *, ppolicy: bool) -> None:
        with self.connect() as db:
            db.add(SUFFIX, ["dcObject", "organization"], {"o": "shop"})
            db.add(PEOPLE_BASE, ["organizationalUnit"])
            db.add(GATE, ["organizationalRole", "simpleSecurityObject"], {"userPassword": WORD})
            db.add(f"cn=policy,{SUFFIX}", ["organizationalRole", *(["pwdPolicy"] if ppolicy else [])],
                   {"pwdAttribute": "userPassword", "pwdMustChange": "TRUE"} if ppolicy else {})  # fmt: skip

    def start(self) -> None:
        self.program = subprocess.Popen(
            ["slapd", "-F", str(self.folder / "config"), "-h", f"ldap://127.0.0.1:{self.port}", "-d", "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.05)
        raise AssertionError("slapd did not start")

    def close(self) -> None:
        if self.program is not None:
            self.program.terminate()
            self.program.wait(30)

    @contextlib.contextmanager
    def _connected(self, dn: str, word: str):  # type: ignore[no-untyped-def]
        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE)
        line = ldap3.Connection(server, dn, word, raise_exceptions=True)
        line.bind()
        yield line
        line.unbind()

    def connect(self):  # type: ignore[no-untyped-def]
        return self._connected(ROOT, "root")

    def config(self):  # type: ignore[no-untyped-def]
        return self._connected("cn=admin,cn=config", CONFIG_WORD)

    def add_people(self, people: dict[str, str]) -> None:
        with self.connect() as db:
            for uid, word in people.items():
                db.add(f"uid={uid},{PEOPLE_BASE}", ["inetOrgPerson"], {"sn": uid, "cn": uid, "userPassword": ssha(word)})

    def opens(self, uid: str, word: str) -> bool:
        """Ask the directory who we are with this password: OpenLDAP's own program is the witness."""
        done = subprocess.run(
            ["ldapwhoami", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", f"uid={uid},{PEOPLE_BASE}", "-w", word], capture_output=True
        )
        assert done.returncode in {0, 49}, done.stderr
        return done.returncode == 0

    def change(self, uid: str, word: str) -> None:
        """Set a password as a self-service page does: by the extended operation, as the directory's own administrator."""
        subprocess.run(
            ["ldappasswd", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ROOT, "-w", "root", "-s", word, f"uid={uid},{PEOPLE_BASE}"],
            check=True, capture_output=True,
        )  # fmt: skip


def ssha(word: str) -> str:
    return "{SSHA}" + base64.b64encode(hashlib.sha1(word.encode() + b"salt").digest() + b"salt").decode()
