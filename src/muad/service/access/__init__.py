"""Who may do what at the station, and how it keeps everybody else out.

`roles` says what there is to be allowed, `tokens` and `logins` who is allowed it, `guard` asks at every route;
`headers`, `rate_limit` and `exposure` are against those who are not asked. `access` puts them together.
"""
