"""`[access]` in station.toml."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import BaseModel, ConfigDict, Field, field_validator


class AccessSettings(BaseModel):
    """Who is let in, and how often they may ask.

    Attributes:
        open: Ask for no tokens. Only with a loopback host, and without a proxy in front.
        trusted_proxies: Addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
        hosts: Names that the service answers to, such as `station.plant.example`; all names if empty.
        login_hours: How long a login of the page lasts.
        requests_per_s: Requests that one token, or one address without a token, may make for long.
        burst: How many it may make at once.
        failures_per_minute: Wrong tokens from one address; beyond that it is told to wait.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    open: bool = False
    trusted_proxies: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    login_hours: float = Field(default=12, gt=0, le=24 * 366)
    requests_per_s: float = Field(default=200, gt=0)
    burst: int = Field(default=400, ge=1)
    failures_per_minute: float = Field(default=10, gt=0)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            try:
                network = ip_network(value)
            except ValueError:
                raise ValueError(
                    f"must be addresses or networks such as 10.0.0.2 or 10.0.0.0/24, got {value!r}"
                ) from None
            if network.prefixlen == 0:
                raise ValueError(f"must be the proxies' own addresses, got {value}, which is everybody's")
        return values

    @field_validator("hosts")
    @classmethod
    def _are_names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not value or any(sign in value for sign in "/: *@") or value != value.strip():
                raise ValueError(f"must be names without scheme, port and path, got {value!r}")
        return tuple(value.lower() for value in values)
