"""Addresses of the customers' site."""

from __future__ import annotations

from django.urls import path
from django.views.decorators.http import require_safe

from . import account, affected, api, contact, lost, second, views

urlpatterns = [
    path("", views.home),
    path("passwordchange", views.ask),
    path("passwordchange/asked", require_safe(views.asked)),
    path("passwordchange/letter", lost.letter),
    path("passwordchange/code", lost.code),
    path("passwordchange/t/<str:token>", views.follow_link),
    path("passwordchange/new", views.choose),
    path("passwordchange/later", views.later),
    path("passwordchange/waiting", views.waiting_form),
    path("login", views.sign_in),
    path("logout", views.sign_out),
    path("login/second", second.second),
    path("login/passkey", second.passkey),
    path("login/remembered", second.remembered),
    path("account", account.account),
    path("account/end", account.end),
    path("account/token", account.token),
    path("account/totp", account.totp),
    path("account/codes", account.codes),
    path("account/passkey", account.passkey),
    path("account/remove", account.remove),
    path("token", api.token),
    path("me", api.me),
    path("account/email", contact.change),
    path("account/email/t/<str:token>", contact.follow_link),
    path("account/email/confirm", contact.confirm),
    path("check", views.check),
    path("affected", affected.ask),
    path("affected/t/<str:token>", affected.follow_link),
    path("affected/answer", affected.answer),
]
handler400 = "tocsin.web.errors.bad_request"
handler403 = "tocsin.web.errors.forbidden"
handler404 = "tocsin.web.errors.not_found"
handler500 = "tocsin.web.errors.server_error"
