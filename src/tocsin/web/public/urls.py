"""Addresses of the customers' site."""

from __future__ import annotations

from django.urls import path

from . import contact, views

urlpatterns = [
    path("", views.home),
    path("passwordchange", views.ask),
    path("passwordchange/t/<str:token>", views.follow_link),
    path("passwordchange/new", views.choose),
    path("login", views.sign_in),
    path("logout", views.sign_out),
    path("account", views.account),
    path("account/email", contact.change),
    path("account/email/t/<str:token>", contact.follow_link),
    path("account/email/confirm", contact.confirm),
    path("check", views.check),
]
handler400 = "tocsin.web.errors.bad_request"
handler403 = "tocsin.web.errors.forbidden"
handler404 = "tocsin.web.errors.not_found"
handler500 = "tocsin.web.errors.server_error"
