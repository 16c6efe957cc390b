"""Settings of a shop that is not ours: Django as `startproject` makes it, SQLite, and the gate's client."""

import os
from pathlib import Path

BASE_DIR = Path(os.environ["SHOP_DIR"])
SECRET_KEY = "a shop for tests"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
if os.environ.get("TOCSIN_GATE_KEY"):
    AUTHENTICATION_BACKENDS.insert(0, "tocsin_django_gate.backends.TocsinGateBackend")
    MIDDLEWARE.append("tocsin_django_gate.middleware.TocsinGateMiddleware")
    TOCSIN_GATE_URL = os.environ["TOCSIN_GATE_URL"]
    TOCSIN_GATE_KEY = os.environ["TOCSIN_GATE_KEY"]
    TOCSIN_GATE_SUBJECT = "urls.customer_number"
    TOCSIN_GATE_EXEMPT = "urls.is_staff"
ROOT_URLCONF = "urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "shop.sqlite3"}}
USE_TZ = True
LOGIN_REDIRECT_URL = "/account"
PASSWORD_HASHERS = ["hashers.Quicker"]
