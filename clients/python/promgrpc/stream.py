"""Reads metrics from replicas of a MetricsService: the latest samples, a replay of the past, or everything as it arrives;
and what a PromQL expression comes to, from their QueryService.

Guaranteed: everything that Client.get yields is covered by the cursor of the next Update that has one. Between two cursors
nothing is lost, repeated or reordered, however often the stream broke and whichever replica resumed it. A program that
stores the cursor together with the result of the updates, and starts with it after a restart, handles each sample exactly
once.

Client.query yields each step exactly once and as a whole.

Not guaranteed: if a replica withholds the cursor for a while and the stream breaks just then, what came since the last
cursor comes again; the first such Update is `rewound`. Samples that no replica retains are announced by a `gap`, or raise
OutOfRangeError.
"""

import random
import threading
import time
from typing import Callable, Dict, Iterator, Optional, Sequence, Union

import grpc

from promgrpc.credentials import TLS, Credential, check_cleartext
from promgrpc.errors import Interrupted, OutOfRangeError, UnreachableError, translate
from promgrpc.expression import Query, Querying, Steps
from promgrpc.selection import Getting, Selection, Update
from promgrpc.suspicion import SuspectError, Suspicion

# Servers keep responses well below.
MAX_MESSAGE_BYTES = 16 << 20

# A following stream that was silent for this many heartbeat intervals is considered dead.
MISSED_HEARTBEATS = 3

MIN_BACKOFF, MAX_BACKOFF = 0.1, 10.0  # seconds

MAX_RETRY_DELAY = 60.0  # seconds; the most that a server may ask for


class Client:
    """Calls the services at any of its addresses, each "host:port"."""

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
        """Ends every get and query after its current part. It may be called by a signal handler."""
        self._stopped = True

    def get(self, selection: Selection) -> Iterator[Update]:
        """Yields what the selection asks for, and resumes the stream, at the next address, whenever it breaks. One that a
        server ends only for its age is resumed at once, at any address, without a call of on_interrupt.

        It ends after the Update with `end`, or after stop. It raises OutOfRangeError, UnreachableError, SuspectError when
        this very call seems to kill servers, and grpc.RpcError for what another attempt would not cure, such as a selector
        that does not parse, or a credential that a server does not accept and that is the same still. A following stream that
        was served before does not give up on a suspicion, but pauses for up to a minute.
        """
        return self._resume(Getting(selection))

    def query(self, query: Query) -> Iterator[Steps]:
        """Yields what the expression comes to, step by step: each exactly once and as a whole, however often the stream
        breaks, and whichever server goes on with it. It ends as get does, but for an ExpressionError, which says where the
        expression is wrong.
        """
        return self._resume(Querying(query))

    def _resume(self, progress: Union[Getting, Querying]) -> Iterator:
        turn, failures, out_of_range = 0, 0, 0
        last: Dict[str, str] = {}  # Errors by address, since the last message.
        entered, credential = False, Credential(self._authorization)
        suspicion = Suspicion(self._channel, credential)
        while not self._stopped:
            served = False
            address = self._addresses[turn % len(self._addresses)]
            try:
                for response in self._stream(address, progress, suspicion, credential):
                    failures, out_of_range, entered, served = 0, 0, True, True
                    suspicion.clear()
                    credential.accepted()
                    last.clear()
                    ended = response.WhichOneof("event") == "end"
                    whole = progress.accept(response, address)
                    if whole is not None:
                        yield whole
                    if self._stopped or ended:
                        return
                raise Interrupted("stream closed before its end")
            except OutOfRangeError as e:
                # Another replica may retain more.
                out_of_range += 1
                if out_of_range >= len(self._addresses):
                    raise
                interrupted = Interrupted(str(e))
            except Interrupted as e:
                interrupted = e
            except SuspectError as e:
                if not (progress.follow and entered):
                    raise
                interrupted = Interrupted(str(e))
            if self._stopped:
                return
            progress.broke(interrupted.cursor)
            if interrupted.aged and served:
                turn = random.randrange(len(self._addresses))
                continue
            last[address] = str(interrupted)
            turn, failures = turn + 1, failures + 1
            if not progress.follow and failures > 2 * len(self._addresses):
                raise UnreachableError("; ".join(f"{a}: {reason}" for a, reason in last.items()))
            self._on_interrupt(address, str(interrupted))
            self._pause(failures, interrupted.retry_delay, suspicion)

    def _stream(
        self, address: str, progress: Union[Getting, Querying], suspicion: Suspicion, credential: Credential
    ) -> Iterator:
        """Yields the messages of one stream."""
        try:
            channel = self._channel(address)
        except (OSError, ValueError) as e:
            raise Interrupted(f"TLS: {e}") from e
        with channel:
            try:
                suspicion.before(channel)
                metadata = credential.metadata()
            except grpc.RpcError as e:
                raise translate(e) from e
            except (OSError, ValueError) as e:
                raise Interrupted(f"credential: {e}") from e
            served = False
            call = progress.open(channel, metadata)
            watchdog = _Watchdog(call, progress, lambda: self._stopped)
            try:
                while True:
                    with watchdog:
                        response = next(call, None)
                    if response is None:
                        return
                    served = True
                    progress.restore(response)
                    yield response
            except grpc.RpcError as e:
                if watchdog.silent:
                    raise Interrupted("no heartbeat") from e
                if e.code() == grpc.StatusCode.UNAUTHENTICATED and credential.outdated():
                    raise Interrupted("the credential was renewed") from e
                translated = translate(e)
                if not served and not self._stopped and isinstance(translated, Interrupted):
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

    def __init__(self, call: grpc.Call, progress: Union[Getting, Querying], stopped: Callable[[], bool]):
        super().__init__(daemon=True)
        self._call, self._stopped = call, stopped
        self._patience = MISSED_HEARTBEATS * progress.heartbeat_interval if progress.follow else float("inf")
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
