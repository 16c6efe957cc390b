"""Addresses of the console."""

from __future__ import annotations

from django.urls import path

from . import approvals, sign_in

urlpatterns = [
    path("sign-in", sign_in.sign_in),
    path("sign-out", sign_in.sign_out),
    path("approvals", approvals.show),
]
