"""Says to a server who a client is, and how that is kept secret: tokens, passwords and certificates from files.

Guaranteed: the files are read again for each attempt, so that they may be renewed in place; without TLS no credential goes
to another machine unless that is allowed; no error has a secret in it.

Not guaranteed: TLS 1.3. gRPC for Python takes 1.2, too.
"""

import base64
import ipaddress
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

import grpc

# Metadata of a call.
Metadata = Sequence[Tuple[str, str]]


class CleartextError(ValueError):
    """A credential was not sent, because others could read it."""


@dataclass(frozen=True)
class TLS:
    """Uses TLS, with PEM files. By default with the authorities that gRPC has, and without a certificate of one's own."""

    ca_file: Optional[str] = None
    cert_file: Optional[str] = None
    key_file: Optional[str] = None
    server_name: Optional[str] = None  # That the server's certificate has to be for, in place of the host of the address.

    def credentials(self) -> grpc.ChannelCredentials:
        ca, cert, key = (None if path is None else _bytes(path) for path in (self.ca_file, self.cert_file, self.key_file))
        if (cert is None) != (key is None):
            raise ValueError("the files of a certificate and of its key belong together")
        return grpc.ssl_channel_credentials(ca, key, cert)

    def options(self) -> List[Tuple[str, str]]:
        return [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []


def token_file(path: str) -> Callable[[], str]:
    """Returns a function that reads a bearer token, for the authorization of a Client."""

    def read() -> str:
        token = _bytes(path).decode("utf-8", "replace").strip()
        if not token or not all(" " <= c <= "~" for c in token):
            raise ValueError(f"{path}: want a token of printable ASCII")
        return f"Bearer {token}"

    return read


def password_file(user: str, path: str) -> Callable[[], str]:
    """Returns a function that reads a user's password, for the authorization of a Client."""
    if ":" in user:
        raise ValueError("the name of a user has no colon")

    def read() -> str:
        password = _bytes(path).strip()
        if not password or b"\n" in password:
            raise ValueError(f"{path}: want a password, in one line")
        return "Basic " + base64.b64encode(user.encode() + b":" + password).decode()

    return read


def check_cleartext(address: str) -> None:
    """Raises CleartextError for an address, "host:port", that is not this machine's."""
    host = address.rpartition(":")[0].strip("[]").lower().rstrip(".")
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise CleartextError(f"{address}: authorization is not sent in the clear: it needs TLS, or an address of this machine")


class Credential:
    """What is sent by one get, and whether there is something newer."""

    def __init__(self, authorization: Optional[Callable[[], str]]):
        self._authorization = authorization
        self._sent, self._renewed = "", False

    def metadata(self) -> Metadata:
        """Returns what to send. It raises OSError or ValueError if that cannot be read."""
        if self._authorization is None:
            return ()
        self._sent = self._authorization()
        return (("authorization", self._sent),)

    def outdated(self) -> bool:
        """Says whether what was sent last is another by now, once until it is accepted."""
        if self._authorization is None or self._renewed:
            return False
        try:
            self._renewed = self._authorization() != self._sent
        except (OSError, ValueError):
            return False
        return self._renewed

    def accepted(self) -> None:
        self._renewed = False


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
