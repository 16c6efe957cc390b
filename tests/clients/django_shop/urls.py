"""A log-in and a page behind it, with Django's own views."""

from django.contrib import admin
from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpResponse
from django.urls import path


def customer_number(user):
    """Return the number under which the gate knows a customer."""
    return user.first_name


def is_staff(user):
    """Tell whether somebody works here."""
    return user.is_staff


@login_required(login_url="/login")
def account(request):
    """Say who is signed in."""
    return HttpResponse(f"signed in as {request.user.get_username()}")


def sso(request):
    """Sign somebody in whom an identity provider has vouched for: no password comes by here."""
    user = get_user_model().objects.get(username=request.GET["user"])
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("in")


def api(request):
    """Answer a request that a token in its header authenticates, as token authentication of Django REST framework does."""
    from tocsin_django_gate.tokens import user_passes_gate

    name = request.headers.get("Authorization", "").removeprefix("Token of ")
    user = get_user_model().objects.filter(username=name).first()
    return HttpResponse("served") if user_passes_gate(user) else HttpResponse("refused", status=403)


urlpatterns = [
    path("login", LoginView.as_view(template_name="login.html")),
    path("account", account),
    path("sso", sso),
    path("api", api),
    path("admin/", admin.site.urls),
]
