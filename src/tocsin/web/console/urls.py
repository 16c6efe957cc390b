"""Addresses of the console."""

from __future__ import annotations

from django.urls import path

from . import approvals, cutover, desk, incident, letters, log, mailing, notices, sign_in

urlpatterns = [
    path("sign-in", sign_in.sign_in),
    path("sign-out", sign_in.sign_out),
    path("", incident.latest),
    path("incidents/<int:incident>", incident.show),
    path("incidents/<int:incident>/live", incident.live),
    path("incidents/<int:incident>/flow", incident.flow),
    path("incidents/<int:incident>/duties", incident.duties),
    path("mailing", mailing.latest),
    path("incidents/<int:incident>/mailing", mailing.show),
    path("incidents/<int:incident>/mailing/live", mailing.live),
    path("incidents/<int:incident>/mailing/<int:mailing>/doubt", mailing.doubt),
    path("incidents/<int:incident>/mailing/<int:mailing>/pause", mailing.pause),
    path("incidents/<int:incident>/mailing/<int:mailing>/stop", mailing.stop),
    path("incidents/<int:incident>/mailing/<int:mailing>/resume", mailing.resume),
    path("incidents/<int:incident>/mailing/<int:mailing>/release/<int:lane>", mailing.release),
    path("notices", notices.latest),
    path("incidents/<int:incident>/notices", notices.list_),
    path("notices/<int:notice>", notices.edit),
    path("notices/<int:notice>/check", notices.check),
    path("notices/<int:notice>/save", notices.save),
    path("notices/<int:notice>/mail", notices.mail),
    path("notices/<int:notice>/review", notices.review),
    path("incidents/<int:incident>/letters", letters.show),
    path("cutover", cutover.latest),
    path("incidents/<int:incident>/cutover", cutover.show),
    path("incidents/<int:incident>/cutover/live", cutover.live),
    path("incidents/<int:incident>/cutover/arm", cutover.arm),
    path("incidents/<int:incident>/cutover/<int:cutover>/commit", cutover.commit),
    path("incidents/<int:incident>/cutover/<int:cutover>/abort", cutover.abort),
    path("incidents/<int:incident>/cutover/<int:cutover>/widen", cutover.widen),
    path("desk", desk.show),
    path("desk/next", desk.take_next),
    path("desk/<int:case>", desk.case),
    path("desk/<int:case>/answer", desk.answer),
    path("desk/<int:case>/release", desk.release),
    path("desk/<int:case>/ticket", desk.ticket),
    path("desk/<int:case>/start-reset", desk.start_reset),
    path("desk/<int:case>/end-sign-ins", desk.end_sign_ins),
    path("approvals", approvals.show),
    path("log", log.show),
    path("log/export", log.export),
    path("receipt", log.receipt),
]

handler400 = "tocsin.web.errors.bad_request"
handler403 = "tocsin.web.errors.forbidden"
handler404 = "tocsin.web.errors.not_found"
handler500 = "tocsin.web.errors.server_error"
