"""What programs of a customer call: a refresh token for a new access token (RFC 6749 s6), and who am I (RFC 6750 s2.1).

Both ask for a secret in the request itself and look at no cookie, so no other site can make a browser use one: the token endpoint needs no
CSRF token. Every refusal of a secret reads the same, whether it is unknown, used, expired, or ended by a cutover.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import SESSION_LIFE
from tocsin.kernel import clock
from tocsin.kernel.errors import NotFound

from .page import seal as _seal

SCHEME = "bearer "


@csrf_exempt
@require_POST
@sensitive_post_parameters()
def token(request: HttpRequest) -> HttpResponse:
    """Change a refresh token for an access token (a session id) and the next refresh token. Source: RFC 6749 s5.1, s5.2, s6."""
    if request.POST.get("grant_type") != "refresh_token":
        return _json({"error": "unsupported_grant_type" if "grant_type" in request.POST else "invalid_request"}, 400)
    try:
        renewed = credentials.renew(request.POST.get("refresh_token", ""), "refresh", at=clock.now())
    except NotFound:
        return _json({"error": "invalid_grant"}, 400)
    return _json(
        {
            "access_token": renewed.sid.reveal(),
            "token_type": "Bearer",
            "expires_in": int(SESSION_LIFE.total_seconds()),
            "refresh_token": renewed.secret.reveal(),
        }
    )


@require_safe
def me(request: HttpRequest) -> HttpResponse:
    """Say who calls, by an access token or API token in the Authorization header."""
    header = request.headers.get("Authorization", "")
    secret = header[len(SCHEME) :].strip() if header[: len(SCHEME)].lower() == SCHEME else ""
    found = credentials_now.caller(secret, at=clock.now())
    if found is None:
        response = _json({"error": "invalid_token"}, 401)
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        return response
    return _json({"customer": found.subject, "signed_in_by": found.cred_class, "label": found.label})


def _json(content: dict[str, object], status: int = 200) -> HttpResponse:
    response = JsonResponse(content, status=status)
    response.headers["Pragma"] = "no-cache"
    return _seal(response)
