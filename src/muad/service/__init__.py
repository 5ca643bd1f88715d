"""The station: a service that judges photographs, remembers what it judged and what people said, and shows it.

`serve` starts it, `app` is its web application, `station` what both stand on. Nothing is global: everything hangs on
one `Station`, so that several processes can serve one history. What a person installs is `muad[service]`.
"""
