"""Sign in and out of the console. Five failures for one name from one address rest the sign-in for a quarter of an hour (django-axes)."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Show the sign-in form, or sign an operator in and go where they wanted to."""
    if request.method == "GET":
        return render(request, "console/sign_in.html", {"username": ""})
    name = request.POST.get("username", "")
    user = authenticate(request, username=name, password=request.POST.get("password", ""))
    if user is None:
        return render(request, "console/sign_in.html", {"username": name, "failed": True}, status=403)
    login(request, user)
    wanted = request.GET.get("next", "/")
    return redirect(wanted if url_has_allowed_host_and_scheme(wanted, {request.get_host()}) else "/")


def locked_out(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    """Answer whoever failed too often (`AXES_LOCKOUT_CALLABLE`): the same for a right and a wrong password."""
    context = {"username": request.POST.get("username", ""), "locked": True}
    response = render(request, "console/sign_in.html", context, status=429)
    response.headers["Retry-After"] = str(round(settings.AXES_COOLOFF_TIME * 3600))
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("/sign-in")
