"""Reads metrics from replicas of a MetricsService: the latest samples, a replay of the past, or everything as it arrives.

Guaranteed: everything that Client.get yields is covered by the cursor of the next Update that has one. Between two cursors
nothing is lost, repeated or reordered, however often the stream broke and whichever replica resumed it. A program that
stores the cursor together with the result of the updates, and starts with it after a restart, handles each sample exactly
once.

Not guaranteed: if a replica withholds the cursor for a while and the stream breaks just then, what came since the last
cursor comes again; the first such Update is `rewound`. Samples that no replica retains are announced by a `gap`, or raise
OutOfRangeError.
"""

import random
import threading
import time
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, Optional, Sequence

import grpc
from google.protobuf import any_pb2, duration_pb2, empty_pb2

from promgrpc.credentials import TLS, Credential, check_cleartext
from promgrpc.metrics.v1 import metrics_service_pb2 as api
from promgrpc.metrics.v1.metrics_pb2 import TimeSeries
from promgrpc.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from promgrpc.suspicion import SuspectError, Suspicion

# Servers keep responses well below.
MAX_MESSAGE_BYTES = 16 << 20

# A following stream that was silent for this many heartbeat intervals is considered dead.
MISSED_HEARTBEATS = 3

MIN_BACKOFF, MAX_BACKOFF = 0.1, 10.0  # seconds

MAX_RETRY_DELAY = 60.0  # seconds; the most that a server may ask for

# What another attempt, here or at another replica, may cure. Proxies turn the death of their server into INTERNAL,
# CANCELLED or UNKNOWN as often as into UNAVAILABLE. RESOURCE_EXHAUSTED is curable only if the server says when to come
# again: any other limit is exceeded every time.
RESUMABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}

# Labels by the reference that stands for them, each as a series without samples.
Labels = Dict[int, TimeSeries]


@dataclass(frozen=True)
class Query:
    """Says which series to get, from where, and how long. By default: the latest sample of every live series."""

    selectors: Sequence[str] = ()  # PromQL series selectors, any of which may match; none means every series.
    since: Optional[float] = None  # Seconds since the Unix epoch: replay the retained samples from then on.
    cursor: str = ""  # Resume right after the Update that had it; `since` must be None then.
    follow: bool = False  # Go on with new samples once the present is reached.
    min_interval: float = 0  # Seconds between two samples of a series while following; 0 means every sample.
    heartbeat_interval: float = 10  # Seconds that a following stream may be quiet.


@dataclass(frozen=True)
class Update:
    """A part of the stream: series, an event, or both, and the cursor that covers all up to and including it."""

    response: api.GetMetricsResponse
    address: str  # The server that sent it.
    rewound: bool  # What came since the last Update with a cursor comes again, starting here.


class OutOfRangeError(Exception):
    """The stream cannot resume, because what follows its cursor is not retained any more."""

    def __init__(self, message: str, oldest_cursor: str):
        super().__init__(message)
        self.oldest_cursor = oldest_cursor  # The oldest that works, "" if the server did not say.


class UnreachableError(Exception):
    """No server could be reached, or none would resume a stream, and the attempts are used up."""


class _Interrupted(Exception):
    """A stream broke in a way that another attempt may cure."""

    def __init__(self, message: str, cursor: str = "", retry_delay: float = 0, aged: bool = False):
        super().__init__(message)
        self.cursor = cursor  # Where it can be resumed, if the server that ended it said so.
        self.aged = aged  # Nothing is wrong: a server ends its streams at some age, so that they spread.
        self.retry_delay = retry_delay  # Seconds, where a server says when to come again.


class Client:
    """Calls a MetricsService at any of its addresses, each "host:port"."""

    def __init__(
        self,
        addresses: Sequence[str],
        tls: Optional[TLS] = None,  # None: without.
        # Returns the value of the header, before each attempt: see token_file and password_file in promgrpc.credentials.
        authorization: Optional[Callable[[], str]] = None,
        allow_cleartext_credentials: bool = False,  # Send that without TLS to other machines, too.
        on_interrupt: Callable[[str, str], None] = lambda address, reason: None,
    ):
        if not addresses:
            raise ValueError("no address of a server")
        if authorization is not None and tls is None and not allow_cleartext_credentials:
            for address in addresses:
                check_cleartext(address)
        self._addresses = list(addresses)
        self._tls, self._authorization = tls, authorization
        self._on_interrupt = on_interrupt
        self._stopped = False

    def stop(self) -> None:
        """Ends every get after its current Update. It may be called by a signal handler."""
        self._stopped = True

    def get(self, query: Query) -> Iterator[Update]:
        """Yields what the query asks for, and resumes the stream, at the next address, whenever it breaks. One that a server
        ends only for its age is resumed at once, at any address, without a call of on_interrupt.

        It ends after the Update with `end`, or after stop. It raises OutOfRangeError, UnreachableError, SuspectError when
        this very call seems to kill servers, and grpc.RpcError for what another attempt would not cure, such as a selector
        that does not parse, or a credential that a server does not accept and that is the same still. A following query that
        was served before does not give up on a suspicion, but pauses for up to a minute.
        """
        if query.since is not None and query.cursor:
            raise ValueError("query has both a time and a cursor to start from")
        turn, failures, out_of_range = 0, 0, 0
        last: Dict[str, str] = {}  # Errors by address, since the last message.
        cursor, uncovered, rewound = query.cursor, False, False
        entered, credential = False, Credential(self._authorization)
        suspicion = Suspicion(self._channel, credential)
        while not self._stopped:
            served = False
            address = self._addresses[turn % len(self._addresses)]
            try:
                for response in self._stream(address, query, cursor, suspicion, credential):
                    failures, out_of_range, entered, served = 0, 0, True, True
                    suspicion.clear()
                    credential.accepted()
                    last.clear()
                    update = Update(response, address, rewound)
                    rewound = False
                    if response.cursor:
                        cursor, uncovered = response.cursor, False
                    elif response.timeseries:
                        uncovered = True
                    yield update
                    if self._stopped or response.WhichOneof("event") == "end":
                        return
                raise _Interrupted("stream closed before its end")
            except OutOfRangeError as e:
                # Another replica may retain more.
                out_of_range += 1
                if out_of_range >= len(self._addresses):
                    raise
                interrupted = _Interrupted(str(e))
            except _Interrupted as e:
                interrupted = e
            except SuspectError as e:
                if not (query.follow and entered):
                    raise
                interrupted = _Interrupted(str(e))
            if self._stopped:
                return
            if interrupted.cursor:
                cursor, uncovered = interrupted.cursor, False
            rewound, uncovered = rewound or uncovered, False
            if interrupted.aged and served:
                turn = random.randrange(len(self._addresses))
                continue
            last[address] = str(interrupted)
            turn, failures = turn + 1, failures + 1
            if not query.follow and failures > 2 * len(self._addresses):
                raise UnreachableError("; ".join(f"{a}: {reason}" for a, reason in last.items()))
            self._on_interrupt(address, str(interrupted))
            self._pause(failures, interrupted.retry_delay, suspicion)

    def _stream(
        self, address: str, query: Query, cursor: str, suspicion: Suspicion, credential: Credential
    ) -> Iterator[api.GetMetricsResponse]:
        """Yields the messages of one stream."""
        labels: Labels = {}  # References are valid for one stream.
        try:
            channel = self._channel(address)
        except (OSError, ValueError) as e:
            raise _Interrupted(f"TLS: {e}") from e
        with channel:
            try:
                suspicion.before(channel)
                metadata = credential.metadata()
            except grpc.RpcError as e:
                raise _translate(e) from e
            except (OSError, ValueError) as e:
                raise _Interrupted(f"credential: {e}") from e
            served = False
            call = MetricsServiceStub(channel).GetMetrics(_request(query, cursor), metadata=metadata)
            watchdog = _Watchdog(call, query, lambda: self._stopped)
            try:
                while True:
                    with watchdog:
                        response = next(call, None)
                    if response is None:
                        return
                    served = True
                    _restore_labels(labels, response)
                    yield response
            except grpc.RpcError as e:
                if watchdog.silent:
                    raise _Interrupted("no heartbeat") from e
                if e.code() == grpc.StatusCode.UNAUTHENTICATED and credential.outdated():
                    raise _Interrupted("the credential was renewed") from e
                translated = _translate(e)
                if not served and not self._stopped and isinstance(translated, _Interrupted):
                    suspect = suspicion.after(address, e)
                    if suspect is not None:
                        raise suspect from e
                raise translated from e
            finally:
                watchdog.end()
                call.cancel()

    def _channel(self, address: str) -> grpc.Channel:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            # A connection of its own, so that a slow consumer delays nobody else.
            ("grpc.use_local_subchannel_pool", 1),
            # When a server dies, HAProxy refuses its streams. gRPC would repeat the call by itself.
            ("grpc.enable_retries", 0),
            # A proxy of the environment would read what is sent to this machine without TLS.
            ("grpc.enable_http_proxy", 0),
        ]
        if self._tls is not None:
            return grpc.secure_channel(address, self._tls.credentials(), options + self._tls.options())
        return grpc.insecure_channel(address, options)

    def _pause(self, failures: int, retry_delay: float, suspicion: Suspicion) -> None:
        """Waits before the next attempt; an address that was not tried yet is tried almost at once."""
        turns = failures // len(self._addresses)
        delay = MIN_BACKOFF / 2 if turns == 0 else min(MAX_BACKOFF, MIN_BACKOFF * 2 ** min(turns - 1, 30))
        delay *= random.uniform(0.5, 1)
        # Not earlier than a server asks, and not all clients at once.
        delay = max(delay, min(retry_delay, MAX_RETRY_DELAY) * random.uniform(1, 1.5), suspicion.pause(MIN_BACKOFF, MAX_BACKOFF))
        end = time.monotonic() + delay
        while not self._stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _Watchdog.TICK))


class _Watchdog(threading.Thread):
    """Cancels a call if nothing comes for too long while somebody waits, or when its client is stopped."""

    TICK = 0.2  # seconds

    def __init__(self, call: grpc.Call, query: Query, stopped: Callable[[], bool]):
        super().__init__(daemon=True)
        self._call, self._stopped = call, stopped
        self._patience = MISSED_HEARTBEATS * query.heartbeat_interval if query.follow else float("inf")
        self._since = float("inf")  # The consumer may be slow.
        self._ended = threading.Event()
        self.silent = False
        self.start()

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_) -> None:
        self._since = float("inf")

    def run(self) -> None:
        while not self._ended.wait(self.TICK):
            self.silent = time.monotonic() - self._since > self._patience
            if self.silent or self._stopped():
                self._call.cancel()
                return

    def end(self) -> None:
        self._ended.set()


def _request(query: Query, cursor: str) -> api.GetMetricsRequest:
    # A snapshot has each series only once.
    references = query.follow or bool(cursor) or query.since is not None
    request = api.GetMetricsRequest(selectors=query.selectors, follow=query.follow, label_references=references)
    if cursor:
        request.cursor = cursor
    elif query.since is not None:
        request.since.FromMilliseconds(round(query.since * 1000))
    if query.follow:
        request.heartbeat_interval.FromMilliseconds(round(query.heartbeat_interval * 1000))
    if query.min_interval:
        request.min_interval.FromMilliseconds(round(query.min_interval * 1000))
    return request


def _restore_labels(labels: Labels, response: api.GetMetricsResponse) -> None:
    """Replaces references by the labels that they stand for."""
    if response.forget_references:
        labels.clear()
        response.forget_references = False
    for series in response.timeseries:
        if not series.ref:
            continue
        if series.labels:
            labels[series.ref] = TimeSeries(labels=series.labels)
        elif series.ref in labels:
            series.MergeFrom(labels[series.ref])
        else:
            raise _Interrupted("series with an unknown reference")
        series.ref = 0


def _translate(error: grpc.RpcError) -> Exception:
    """Returns the exception that the error of a stream means."""
    code, message = error.code(), f"{error.code().name}: {error.details()}"
    if code == grpc.StatusCode.OUT_OF_RANGE:
        out_of_range = _detail(error, api.CursorOutOfRange())
        return OutOfRangeError(message, out_of_range.oldest_cursor)
    retry_delay = _retry_delay(error)
    if code in RESUMABLE or code == grpc.StatusCode.RESOURCE_EXHAUSTED and retry_delay is not None:
        interrupted = _detail(error, api.StreamInterrupted())
        aged = interrupted.reason == api.StreamInterrupted.REASON_MAX_AGE
        return _Interrupted(message, interrupted.cursor, retry_delay or 0, aged)
    return error


def _retry_delay(error: grpc.RpcError) -> Optional[float]:
    """Returns how many seconds a server that refused a call asks to wait: field 1 of a google.rpc.RetryInfo."""
    for detail in _details(error):
        if detail.type_url.endswith("/google.rpc.RetryInfo"):
            delay = duration_pb2.Duration()
            for data in _fields(detail.value, 1):
                delay.MergeFromString(data)
            return max(0.0, delay.seconds + delay.nanos / 1e9)
    return None


def _detail(error: grpc.RpcError, detail):
    """Fills in the detail of an error, if it has one of this type."""
    for packed in _details(error):
        packed.Unpack(detail)
    return detail


def _details(error: grpc.RpcError) -> Iterator[any_pb2.Any]:
    """Yields the details of an error, which are field 3 of a google.rpc.Status."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            yield from map(any_pb2.Any.FromString, _fields(value, 3))


def _fields(message: bytes, number: int) -> Iterator[bytes]:
    """Yields a field of a google.rpc message, for which Debian has no stubs: all its fields are unknown to Empty."""
    for field in empty_pb2.Empty.FromString(message).UnknownFields():
        if field.field_number == number:
            yield field.data
