"""The question for requests that a token in a header authenticates: they have no session, and their user is known in the view only.

    class PassesGate(rest_framework.permissions.BasePermission):
        def has_permission(self, request, view):
            return user_passes_gate(request.user)

It answers whether the customer is through the gate. A token that an intruder read does not end by it once its owner has a new password: end
tokens at the cutover too, for they bear no epoch.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from .client import gate, is_exempt, subject_of


def user_passes_gate(request_user: Any) -> bool:
    """Tell whether this authenticated user may go on. No user, or a gate that cannot be asked, is no; whoever is exempt is yes.

    Asks at most once per TOCSIN_GATE_SESSION_S and customer, as the middleware does. Never raises for the gate's sake.
    """
    if request_user is None or not getattr(request_user, "is_authenticated", False):
        return False
    if is_exempt(request_user):
        return True
    return gate().ask_remembered(subject_of(request_user), for_s=getattr(settings, "TOCSIN_GATE_SESSION_S", 1.0)).allow
