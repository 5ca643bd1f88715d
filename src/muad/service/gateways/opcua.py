"""A small OPC UA server that shows the last verdict of every station, to be read and subscribed to, never written.

    Objects / Muad / STATION / Verdict, VerdictCode, Score, ...    node id `ns=N;s=STATION.Verdict`

N is the index of the namespace `urn:muad:station`. All values of a part are set before the counter `Inspections`, so
that a controller which waits for the counter reads values that belong together. A number that is not known is NaN, a
text that is not known is empty.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, cast

from pydantic import Field

from muad.errors import ConfigError
from muad.service.gateways.base import (
    AwayError,
    Message,
    RefusedError,
    Section,
    is_loopback,
    read_secret,
    require_file,
    require_package,
)
from muad.service.gateways.opcua_values import NAMESPACE, VALUES, node_id, values_of, variant

if TYPE_CHECKING:
    from asyncua import ua
    from asyncua.common.node import Node
    from asyncua.server.server import Server
    from asyncua.server.user_managers import UserManager

_LOG = logging.getLogger(__name__)
_MOST_STATIONS: Final = 200
_START_S: Final = 60.0
_SHOW_S: Final = 10.0
_STATE_FILE: Final = "opcua-last.json"


class OpcuaSettings(Section):
    """`[opcua]`: where the server listens, and who may read.

    Attributes:
        host: Address to listen on.
        port: The same.
        certificate: Of the server; with it every connection has to be signed or encrypted.
        key: Of that certificate.
        clients: Folder of the certificates, or of those they are signed by, of clients that may connect; all if not
            given.
        user: That clients have to give, or none.
        password_file: Holds the password.
        password_env: Environment variable that holds it.
        unencrypted: Allow connections without a certificate from other machines too.
        uri: Of the application, as in its certificate.
    """

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 4840
    certificate: Path | None = None
    key: Path | None = None
    clients: Path | None = None
    user: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    password_file: Path | None = None
    password_env: str | None = None
    unencrypted: bool = False
    uri: Annotated[str, Field(min_length=1, max_length=200)] = NAMESPACE

    section: ClassVar[str] = "opcua"

    def check(self, folder: Path) -> None:
        """Refuse what could not work, and what would let in whoever asks.

        Raises:
            ConfigError: A file cannot be read, or settings contradict each other.
        """
        require_package("opcua", "asyncua")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("opcua.certificate and opcua.key must be given together, got one of them.")
        if self.certificate is None and not is_loopback(self.host) and not self.unencrypted:
            raise ConfigError(
                f"opcua.certificate must be given to listen on {self.host}, got none. Give certificate and key, or set "
                "opcua.unencrypted = true if the network is trusted."
            )
        if self.clients is not None and (self.certificate is None or self.unencrypted):
            raise ConfigError("opcua.clients must come with certificate and key, and not with unencrypted = true.")
        if (self.user is None) != (self.password(folder) is None):
            raise ConfigError("opcua.user and its password must be given together, got one of them.")
        if self.user is not None and self.certificate is None and not is_loopback(self.host):
            raise ConfigError("opcua.certificate must be given where a password is asked for, got none.")
        certificate = require_file("opcua.certificate", folder, self.certificate)
        key = require_file("opcua.key", folder, self.key)
        if certificate is not None and key is not None:
            _require_pair(certificate, key)
        if self.clients is not None and not (folder / self.clients).is_dir():
            raise ConfigError(f"opcua.clients must be a folder of certificates, got {folder / self.clients}.")

    def password(self, folder: Path) -> str | None:
        """The password, or None."""
        return read_secret("opcua.password", folder, self.password_file, self.password_env)


class OpcuaOutlet:
    """The outlet.

    Args:
        settings: Its section.
        folder: The station's.
    """

    def __init__(self, settings: OpcuaSettings, folder: Path) -> None:
        self.name = settings.section
        self._settings, self._folder = settings, folder
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: Server | None = None
        self._shown: dict[str, dict[str, Any]] = {}
        self._nodes: dict[str, dict[str, Node]] = {}

    def open(self) -> None:
        """Listen, and show what was shown last.

        Raises:
            AwayError: It cannot listen now, such as on a port that is taken.
        """
        self.close()
        self._shown = self._remembered()
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._thread = threading.Thread(target=loop.run_forever, name="opcua", daemon=True)
        self._thread.start()
        try:
            self._wait(self._listen(), _START_S)
        except Exception as error:
            self.close()
            if isinstance(error, AwayError):
                raise
            where = f"opc.tcp://{self._settings.host}:{self._settings.port}"
            raise AwayError(f"{where} cannot be opened: {type(error).__name__}: {error}") from error

    def send(self, message: Message) -> None:
        """Show an inspection.

        Raises:
            AwayError: The server does not run.
            RefusedError: There are more stations than it shows.
        """
        if self._server is None:
            self.open()
        station = message["station"]
        before = self._shown.get(station)
        if before is None and len(self._shown) >= _MOST_STATIONS:
            raise RefusedError(f"shows at most {_MOST_STATIONS} stations, got another: {station[:80]!r}")
        if before is not None and before["InspectionId"] == message["id"]:
            return  # it came twice, and counts once
        values = values_of(message, before or {})
        self._wait(self._show(station, values))
        self._shown[station] = values
        self._remember()

    def close(self) -> None:
        """Stop listening."""
        loop, thread, server = self._loop, self._thread, self._server
        self._loop = self._thread = self._server = None
        self._nodes = {}
        if loop is None or thread is None:
            return
        if server is not None:
            try:
                asyncio.run_coroutine_threadsafe(server.stop(), loop).result(_SHOW_S)
            except Exception:  # noqa: BLE001  whatever happens in there, the station goes on
                _LOG.exception("OPC UA server could not be stopped in order")
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(_SHOW_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SHOW_S)
        if not thread.is_alive():
            loop.close()

    def _wait(self, work: Coroutine[Any, Any, None], most_s: float = _SHOW_S) -> None:
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            future.result(most_s)
        except (TimeoutError, CancelledError):
            future.cancel()
            raise AwayError(f"OPC UA server does not get on within {most_s:g} s") from None

    async def _listen(self) -> None:
        from asyncua import ua
        from asyncua.crypto.permission_rules import SimpleRoleRuleset
        from asyncua.crypto.truststore import TrustStore
        from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
        from asyncua.server.server import Server

        settings, folder = self._settings, self._folder
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family) as probe:  # setting up takes a second of computing, for nothing on a taken port
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
        try:
            password = settings.password(folder)
        except ConfigError as error:
            raise AwayError(str(error)) from None
        server = Server(user_manager=cast("UserManager", _Readers(settings.user, password)))
        await server.init()
        await server.set_application_uri(settings.uri)
        server.set_server_name("muad station")
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        server.set_endpoint(f"opc.tcp://{host}:{settings.port}")
        policies = []
        if settings.certificate is not None and settings.key is not None:
            certificate, key = folder / settings.certificate, folder / settings.key
            await server.load_certificate(certificate.read_bytes(), _form(certificate))
            await server.load_private_key(key.read_bytes(), format=_form(key))
            policies = [
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Basic256Sha256_Sign,
            ]
        if settings.certificate is None or settings.unencrypted:
            policies.append(ua.SecurityPolicyType.NoSecurity)
        server.set_security_policy(policies, permission_ruleset=SimpleRoleRuleset())  # type: ignore[no-untyped-call]
        server.set_identity_tokens([ua.AnonymousIdentityToken if settings.user is None else ua.UserNameIdentityToken])
        if settings.clients is not None:
            trusted = TrustStore([folder / settings.clients], [])
            await trusted.load()
            options = CertificateValidatorOptions.BASIC_VALIDATION | CertificateValidatorOptions.TRUSTED
            server.set_certificate_validator(
                CertificateValidator(options | CertificateValidatorOptions.PEER_CLIENT, trusted)
            )
        namespace = await server.register_namespace(NAMESPACE)
        root = await server.get_objects_node().add_object(node_id("Muad", namespace), f"{namespace}:Muad")
        self._namespace, self._root = namespace, root
        for station, values in self._shown.items():
            await self._show(station, values)
        await server.start()
        self._server = server

    async def _show(self, station: str, values: Mapping[str, Any]) -> None:
        from asyncua import ua

        if station not in self._nodes:
            folder = await self._root.add_object(
                node_id(station, self._namespace), ua.QualifiedName(station, self._namespace)
            )
            nodes = {}
            for name, kind in VALUES.items():
                nodes[name] = await folder.add_variable(
                    node_id(f"{station}.{name}", self._namespace),
                    ua.QualifiedName(name, self._namespace),
                    variant(kind, values[name]),
                )
            self._nodes[station] = nodes
        at = datetime.fromisoformat(values["Time"])
        for name, kind in VALUES.items():
            value = ua.DataValue(variant(kind, values[name]), SourceTimestamp=cast("ua.DateTime", at))
            await self._nodes[station][name].write_value(value)

    def _remembered(self) -> dict[str, dict[str, Any]]:
        """What was shown before a restart."""
        try:
            found = json.loads((self._folder / _STATE_FILE).read_text(encoding="utf-8"))
            return {station: values for station, values in found.items() if set(values) == set(VALUES)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            _LOG.warning("%s cannot be read (%s); counters begin at 0", self._folder / _STATE_FILE, error)
            return {}

    def _remember(self) -> None:
        file = self._folder / _STATE_FILE
        draft = file.with_name(f".{file.name}.partial")
        try:
            draft.write_text(json.dumps(self._shown, allow_nan=False), encoding="utf-8")
            draft.replace(file)
        except OSError as error:
            _LOG.warning("%s cannot be written: %s", file, error)


class _Readers:
    """Who may connect: nobody is more than a reader."""

    def __init__(self, user: str | None, password: str | None) -> None:
        self._user, self._password = user, password

    def get_user(
        self,
        iserver: Any,  # noqa: ANN401, ARG002  asyncua's interface
        username: str | None = None,
        password: str | bytes | None = None,
        certificate: Any = None,  # noqa: ANN401, ARG002
    ) -> Any:  # noqa: ANN401
        """The reader, or None for somebody who may not connect."""
        import hmac

        from asyncua.crypto.permission_rules import User, UserRole

        if self._user is not None and self._password is not None:
            given = password if isinstance(password, bytes) else (password or "").encode()
            right = hmac.compare_digest((username or "").encode(), self._user.encode())
            if not (hmac.compare_digest(given, self._password.encode()) and right):
                return None
        return User(role=UserRole.User)


def _form(file: Path) -> str:
    """How a certificate or key is written, whatever it is called."""
    return "pem" if b"-----BEGIN" in file.read_bytes() else "der"


def _require_pair(certificate: Path, key: Path) -> None:
    """Refuse files that are no certificate and its key.

    Raises:
        ConfigError: They are not.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    pem_certificate, pem_key = x509.load_pem_x509_certificate, serialization.load_pem_private_key
    der_certificate, der_key = x509.load_der_x509_certificate, serialization.load_der_private_key
    try:
        public = (pem_certificate if _form(certificate) == "pem" else der_certificate)(certificate.read_bytes())
        private = (pem_key if _form(key) == "pem" else der_key)(key.read_bytes(), None)
        fits = isinstance(private, RSAPrivateKey) and private.public_key() == public.public_key()
    except (OSError, ValueError, TypeError) as error:  # TypeError: the key has a password
        raise ConfigError(
            f"opcua.certificate and opcua.key must be files that can be read, got {certificate} and {key} ({error})."
        ) from None
    if not fits:
        raise ConfigError(f"opcua.key must be the RSA key of opcua.certificate, got {key} for {certificate}.")


async def _cancel_all() -> None:
    """End what still runs in this loop."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
