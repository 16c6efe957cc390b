"""The house's settings with the crash tests' own room."""

from tocsin.settings import *  # noqa: F403
from tocsin.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.crash.ledger"]
