"""The content security policy on every answer: django-csp's, whose text is made once instead of six times per page.

django-csp builds the policy and a report-only one anew for each answer, because a view may change it or ask for a nonce. Ours do neither;
an answer that did would get it from django-csp as before.
"""

from __future__ import annotations

import functools

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class ContentPolicyMiddleware(CSPMiddleware):
    """Set the policy of the settings."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the header, as django-csp would."""
        if getattr(request, "_csp_nonce", None) is not None or any(name.startswith("_csp") for name in vars(response)):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, _policy())
        return response


@functools.cache
def _policy() -> str:
    return str(build_policy())
