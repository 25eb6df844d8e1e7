"""Suspects calls that kill servers, so that they are not carried from one to the next until none is left.

A call broke off if it ended without a server's status before the first message, and there was a connection. Since
connections break for other reasons too, the server is asked afterwards whether it is alive, and since when; and from then
on before each attempt, so that the call is sent only to servers that answer. At an address that leads to several servers,
another one may answer. Then nothing is certain, and the breaks are counted.
"""

import random
import time
from typing import Callable, Optional

import grpc
from google.protobuf.duration_pb2 import Duration

from promgrpc.credentials import Credential
from promgrpc.metrics.v1 import metrics_service_pb2 as api
from promgrpc.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub

# A call is given up after this many certain deaths, or after it broke off this often before the first message.
MAX_DEATHS, MAX_BREAKS = 2, 3

STATUS_TIMEOUT = 10.0  # seconds
MAX_PAUSE = 60.0  # seconds

# How a call ends that broke off. A server may answer so itself, too.
BREAKS = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}

# What grpcio says if it lost the connection itself, rather than a proxy.
LOST = ("socket closed", "recvmsg", "connection reset", "broken pipe")


class SuspectError(Exception):
    """Servers died, as far as one can tell, of the very call that they were answering."""

    def __init__(self, breaks: int, deaths: int, message: str):
        what = f"{deaths} servers died while they answered this call"
        if deaths < MAX_DEATHS:
            what = f"this call broke off {breaks} times before its answer began, and servers may have died of it"
        super().__init__(f"{what}: {message}")
        self.breaks, self.deaths = breaks, deaths


class Suspicion:
    """What is known of one call."""

    def __init__(self, open_channel: Callable[[str], grpc.Channel], credential: Credential):
        self._open_channel, self._credential = open_channel, credential
        self._breaks, self._deaths = 0, 0
        self._status: Optional[api.GetStatusResponse] = None
        self._sent = 0.0

    def before(self, channel: grpc.Channel) -> None:
        """Comes before an attempt. It raises the error of a server that does not answer at all."""
        self._status = self._ask(channel) if self._breaks else None
        self._sent = time.monotonic()

    def after(self, address: str, error: grpc.RpcError) -> Optional[SuspectError]:
        """Comes after an attempt that failed without a message, and returns an error if the call should not be repeated."""
        if _answered(error) or _refused(error):
            return None
        asked = time.monotonic()
        try:
            with self._open_channel(address) as channel:
                status = self._ask(channel)
            uptime = _seconds(status.uptime) if status.HasField("uptime") else float("inf")
            died = uptime < asked - self._sent
        except grpc.RpcError as e:
            status, uptime, died = None, 0.0, self._status is not None or _refused(e)
        except (OSError, ValueError):
            return None  # Our own files cannot be read: nothing is known of the server.
        if not died and status is not None and self._status is not None and _lost(error):
            if status.instance and status.instance == self._status.instance and uptime >= time.monotonic() - self._sent:
                return None  # The connection led to this server, which is alive.
        self._breaks += 1
        self._deaths += died
        if self._deaths < MAX_DEATHS and self._breaks < MAX_BREAKS:
            return None
        return SuspectError(self._breaks, self._deaths, f"{address}: {error.code().name}: {error.details()}")

    def clear(self) -> None:
        """Comes with each message."""
        self._breaks, self._deaths = 0, 0

    def pause(self, least: float, most: float) -> float:
        """Returns the least time to wait before the next attempt, given the bounds of ordinary pauses."""
        if not self._breaks:
            return 0
        over = max(self._breaks - MAX_BREAKS, self._deaths - MAX_DEATHS)
        delay = min(10 * least * 2 ** (self._breaks - 1), most) if over < 0 else min(most * 2 ** min(over, 10), MAX_PAUSE)
        return delay * random.uniform(0.5, 1)

    def _ask(self, channel: grpc.Channel) -> api.GetStatusResponse:
        """Returns the status of a server, an empty one if it refuses, and raises the error of one that does not answer."""
        try:
            metadata = self._credential.metadata()
        except (OSError, ValueError):
            metadata = ()  # A server that refuses is alive.
        try:
            return MetricsServiceStub(channel).GetStatus(api.GetStatusRequest(), timeout=STATUS_TIMEOUT, metadata=metadata)
        except grpc.RpcError as e:
            if e.code() not in BREAKS and e.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                return api.GetStatusResponse()
            raise


def _answered(error: grpc.RpcError) -> bool:
    """Says whether a server gave the status, since it named itself, or is merely slow."""
    metadata = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())]
    return error.code() not in BREAKS or any(key == "promgrpc-instance" for key, _ in metadata)


def _refused(error: grpc.RpcError) -> bool:
    return "failed to connect" in (error.details() or "").lower()


def _lost(error: grpc.RpcError) -> bool:
    return any(text in (error.details() or "").lower() for text in LOST)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
