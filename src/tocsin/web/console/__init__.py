"""The console of the response team: sign-in, the incident, duties, mailing, desk, log, approvals. One call into the rooms per view."""
