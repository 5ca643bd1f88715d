"""Verdicts by MQTT.

PREFIX/STATION/inspection    every inspection as JSON, QoS 1; the broker keeps the last one for who comes later
PREFIX/NAME/status           `online`; `offline` after a stop, or said by the broker for us when we are gone
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field

from muad.errors import ConfigError
from muad.service.gateways.base import (
    AwayError,
    Message,
    Section,
    client_tls,
    is_loopback,
    read_secret,
    require_package,
)

if TYPE_CHECKING:
    import paho.mqtt.client as paho

_LOG = logging.getLogger(__name__)
ONLINE: Final = "online"
OFFLINE: Final = "offline"
_QOS: Final = 1


class MqttSettings(Section):
    """`[mqtt]`: a broker.

    Attributes:
        host: Its name or address.
        port: 1883, or 8883 with TLS, unless said otherwise.
        prefix: First part of every topic.
        name: Of this client among those of the broker, and in the topic of its status.
        tls: Encrypt, and check the broker's certificate.
        ca: Certificates that the broker's may be signed by; those of the system if not given.
        certificate: Of this client, if the broker asks for one.
        key: Of that certificate.
        user: Or none.
        password_file: Holds the password.
        password_env: Environment variable that holds it.
        keepalive_s: After one and a half of which without a sign the broker says that we are gone.
        timeout_s: How long to wait for the broker's answer.
    """

    host: Annotated[str, Field(min_length=1, max_length=255)]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    prefix: Annotated[str, Field(min_length=1, max_length=200)] = "muad"
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")] = "station"
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    password_file: Path | None = None
    password_env: str | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0

    section: ClassVar[str] = "mqtt"

    def check(self, folder: Path) -> None:
        """Refuse what could not work.

        Raises:
            ConfigError: A file cannot be read, the prefix is no topic, or settings contradict each other.
        """
        require_package("mqtt", "paho")
        if any(letter in self.prefix for letter in "+#\0") or self.prefix[0] in "/$" or self.prefix[-1] == "/":
            raise ConfigError(f"mqtt.prefix must be a topic without +, # and /, $ at its ends, got {self.prefix!r}.")
        if not self.tls and (self.ca or self.certificate or self.key):
            raise ConfigError("mqtt.tls must be true for ca, certificate and key to be used, got false.")
        if self.password(folder) is not None and self.user is None:
            raise ConfigError("mqtt.user must be given where a password is, got none.")
        self.tls_context(folder)

    def password(self, folder: Path) -> str | None:
        """The password, or None."""
        return read_secret("mqtt.password", folder, self.password_file, self.password_env)

    def tls_context(self, folder: Path) -> ssl.SSLContext | None:
        """How to encrypt, or None.

        Raises:
            ConfigError: Certificates or key cannot be read.
        """
        return client_tls("mqtt", folder, self.ca, self.certificate, self.key) if self.tls else None

    def status_topic(self) -> str:
        """Where it is said whether the station is there."""
        return f"{self.prefix}/{self.name}/status"

    def topic(self, station: str) -> str:
        """Where the inspections of a station go; what a topic must not hold is written as in an address, `%23`."""
        level = "".join(f"%{ord(letter):02X}" if letter in "/+#%\0" else letter for letter in station) or "station"
        return f"{self.prefix}/{level}/inspection"


class _ClosedOnFault(ssl.SSLSocket):
    """A connection that paho would leave open when the broker's certificate is not the right one."""

    def do_handshake(self, block: bool = False) -> None:
        """Agree on keys."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class MqttOutlet:
    """The outlet.

    Args:
        settings: Its section.
        folder: The station's.
    """

    def __init__(self, settings: MqttSettings, folder: Path) -> None:
        self.name = settings.section
        self._settings, self._folder = settings, folder
        self._client: paho.Client | None = None
        self._answered = threading.Event()
        self._refusal: str | None = None

    def open(self) -> None:
        """Connect, say that we are there, and have the broker say it when we are gone.

        Raises:
            AwayError: No broker answers, or it refuses us.
        """
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self._leave()
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"muad-{settings.name}", protocol=paho.MQTTv311, clean_session=True
        )
        client.will_set(settings.status_topic(), OFFLINE, qos=_QOS, retain=True)
        try:  # read anew, so that a password or certificate may be changed without a restart
            context = settings.tls_context(self._folder)
            if settings.user is not None:
                client.username_pw_set(settings.user, settings.password(self._folder))
        except ConfigError as error:
            raise AwayError(str(error)) from None
        if context is not None:
            context.sslsocket_class = _ClosedOnFault
            client.tls_set_context(context)
        elif settings.user is not None and not is_loopback(settings.host):
            _LOG.warning("mqtt: user and password go to %s unencrypted; set mqtt.tls", settings.host)
        client.on_connect = self._connected
        client.connect_timeout = settings.timeout_s
        client.reconnect_delay_set(1, 30)
        self._answered.clear()
        self._refusal = "no answer"
        port = settings.port or (8883 if settings.tls else 1883)
        try:
            client.connect(settings.host, port, keepalive=settings.keepalive_s)
        except (OSError, ValueError) as error:
            raise AwayError(f"broker {settings.host}:{port}: {error}") from None
        self._client = client
        client.loop_start()
        self._answered.wait(settings.timeout_s)
        if self._refusal is not None:
            self._leave()
            raise AwayError(f"broker {settings.host}:{port}: {self._refusal}")

    def send(self, message: Message) -> None:
        """Publish an inspection; the broker has it when this returns.

        Raises:
            AwayError: The broker did not confirm it.
        """
        if self._client is None or not self._client.is_connected():
            self.open()
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        self._publish(self._settings.topic(message["station"]), body)

    def close(self) -> None:
        """Say that we are gone, and leave."""
        if self._client is not None and self._client.is_connected():
            try:
                self._publish(self._settings.status_topic(), OFFLINE)
            except AwayError:
                return  # the broker says it
        self._leave()

    def _publish(self, topic: str, body: str) -> None:
        assert self._client is not None
        try:
            sent = self._client.publish(topic, body, qos=_QOS, retain=True)
            sent.wait_for_publish(self._settings.timeout_s)
            confirmed = sent.is_published()
        except (RuntimeError, ValueError) as error:  # not connected any more; its queue is full
            self._leave()
            raise AwayError(f"broker {self._settings.host}: {error}") from None
        if not confirmed:
            self._leave()
            raise AwayError(f"broker {self._settings.host} does not confirm")

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  paho's
        """Say that we are there, also after paho has connected again by itself."""
        self._refusal = str(reason) if reason.is_failure else None
        if not reason.is_failure:
            client.publish(self._settings.status_topic(), ONLINE, qos=_QOS, retain=True)
        self._answered.set()

    def _leave(self) -> None:
        """Drop the connection and what the client still has in hand: the spool has it too."""
        client, self._client = self._client, None
        if client is not None:
            client.on_connect = None
            client.disconnect()
            client.loop_stop()
