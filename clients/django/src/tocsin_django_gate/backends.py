"""The backend that stands before all others: it knows no password, and says no where Tocsin says no.

    AUTHENTICATION_BACKENDS = ["tocsin_django_gate.backends.TocsinGateBackend", "django.contrib.auth.backends.ModelBackend"]

It never lets anybody in by itself: it returns None, and the next backend checks the password, or it raises PermissionDenied, which ends the
log-in (Django then tries no further backend). A refusal takes as long as a wrong password does, and a name that nobody has is asked about
under a number that nobody has, so that neither answer nor time tells a stranger who has set a new password. Log-ins without a password (single
sign-on) are left to the middleware, which asks about every session. Requests without a session, by a token in a header, pass both by: see
tokens.py.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from .client import Answer, gate, is_exempt, subject_of

NOBODY = "-"
EPOCH = "tocsin_gate_epoch"  # in the session: the epoch read before the password was checked
ANSWER = "_tocsin_gate_answer"  # on the request


class TocsinGateBackend(BaseBackend):
    """Ask the gate before any other backend looks at the password."""

    def authenticate(self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **named: Any) -> None:
        """Return None if the other backends may go on. Raises PermissionDenied if the gate refuses or cannot be asked."""
        model = get_user_model()
        username = username if username is not None else named.get(model.USERNAME_FIELD)
        if username is None or password is None:
            return
        user = model._default_manager.filter(**{model.USERNAME_FIELD: username}).first()
        if user is not None and is_exempt(user):
            return
        answer = gate().ask(subject_of(user) if user is not None else NOBODY)
        if request is not None:
            setattr(request, ANSWER, answer)
        if not answer.allow:
            if answer.reason != "unavailable":
                model().set_password(password)  # as long as checking one would take
            raise PermissionDenied("the gate lets nobody in with this password")

    def get_user(self, user_id: Any) -> None:
        """Return nobody: this backend never logs anybody in."""
        return


def _stamp(sender: Any, request: HttpRequest | None, user: Any, **_more: Any) -> None:
    """Write into a new session the epoch that was read before its password was checked. An answer about somebody else does not count."""
    if request is None or not hasattr(request, "session") or is_exempt(user):
        return
    answer: Answer | None = getattr(request, ANSWER, None)
    subject = subject_of(user)
    if answer is None or answer.subject != subject:
        answer = gate().ask(subject)
    request.session[EPOCH] = answer.epoch if answer.allow else 0


user_logged_in.connect(_stamp, dispatch_uid="tocsin_django_gate")
