"""Addresses of the customers' site."""

from __future__ import annotations

from django.urls import path
from django.views.decorators.http import require_safe

from . import affected, lost, views

urlpatterns = [
    path("", views.home),
    path("passwordchange", views.ask),
    path("passwordchange/asked", require_safe(views.asked)),
    path("passwordchange/letter", lost.letter),
    path("passwordchange/code", lost.code),
    path("passwordchange/t/<str:token>", views.follow_link),
    path("passwordchange/new", views.choose),
    path("login", views.sign_in),
    path("logout", views.sign_out),
    path("account", views.account),
    path("check", views.check),
    path("affected", affected.ask),
    path("affected/t/<str:token>", affected.follow_link),
    path("affected/answer", affected.answer),
]
handler400 = "tocsin.web.errors.bad_request"
handler403 = "tocsin.web.errors.forbidden"
handler404 = "tocsin.web.errors.not_found"
handler500 = "tocsin.web.errors.server_error"
