"""What a PromQL expression comes to, step by step, as replicas of a QueryService send it."""

from dataclasses import dataclass
from typing import List, Optional

import grpc

from promgrpc.errors import Interrupted
from promgrpc.labels import Labels, restore_labels
from promgrpc.metrics.v1.metrics_pb2 import WHEN_AWAY_REFUSE
from promgrpc.query.v1 import query_service_pb2 as api
from promgrpc.query.v1.query_service_pb2_grpc import QueryServiceStub

# What is held of a step until it is complete.
MAX_STEP_BYTES = 1 << 30


@dataclass(frozen=True)
class Query:
    """Says which expression to evaluate, and at which steps: whole multiples of `step` since the Unix epoch. By default: the
    latest step that is due. Times are in seconds."""

    expression: str  # In PromQL, whose result is an instant vector or a scalar.
    since: Optional[float] = None  # Start with the first step at this time, since the Unix epoch, or later.
    # Start with the step after the Steps that had it, of a query with the same expression, step, delay and lookback; `since`
    # must be None then.
    cursor: str = ""
    end: Optional[float] = None  # The time of the last step, since the Unix epoch.
    step: float = 15  # Between two steps.
    follow: bool = False  # Go on with each step as it becomes due.
    delay: float = 10  # How long samples may take to arrive.
    lookback: float = 0  # How old a sample may be to count as the value of its series; 0 means what the server has.
    on_change: bool = False  # Of each step only the series whose value differs from that of the step before.
    heartbeat_interval: float = 10  # How long a following stream may be quiet.
    # At a router, while a group that is needed is away: refuse, rather than wait with the next step, and say so with `away`.
    refuse_when_away: bool = False


@dataclass(frozen=True)
class Steps:
    """A part of the stream: one whole step or several, an event, or both, and the cursor that covers all steps up to
    `response.evaluated`."""

    response: api.QueryResponse
    address: str  # The server that sent it.


class StepSizeError(Exception):
    """A step is too large to be held until it is complete."""


class Querying:
    """How far a query has come. It yields whole steps: what came of another one is dropped when a stream breaks, and comes
    again."""

    def __init__(self, query: Query):
        if query.since is not None and query.cursor:
            raise ValueError("a query has both a time and a cursor to start from")
        self.follow, self.heartbeat_interval = query.follow, query.heartbeat_interval
        self._query, self._cursor = query, query.cursor
        self._labels: Labels = {}
        self._held: List[api.QueryResponse] = []  # What came since the cursor,
        self._bytes = 0  # and how much that is.

    def open(self, channel: grpc.Channel, metadata) -> grpc.Call:
        """Opens a stream that goes on after the last whole step."""
        self._labels.clear()  # References are valid for one stream.
        return QueryServiceStub(channel).Query(_request(self._query, self._cursor), metadata=metadata)

    def restore(self, response: api.QueryResponse) -> None:
        """Restores labels. It raises Interrupted for what no server sends that is well."""
        event = response.WhichOneof("event")
        if not response.cursor and event and (response.timeseries or event == "end" and self._held):
            raise Interrupted("an event within a step")
        if not response.cursor and not event:
            self._bytes += response.ByteSize()
            if self._bytes > MAX_STEP_BYTES:
                raise StepSizeError(f"a step of more than {MAX_STEP_BYTES} bytes")
        restore_labels(self._labels, response)

    def accept(self, response: api.QueryResponse, address: str) -> Optional[Steps]:
        """Returns what there is to yield, None within a step."""
        if not response.cursor:
            if response.WhichOneof("event"):
                return Steps(response, address)
            self._held.append(response)
            return None
        if self._held:
            response = _joined([*self._held, response])
        self._cursor, self._held, self._bytes = response.cursor, [], 0
        return Steps(response, address)

    def broke(self, farewell: str) -> None:
        """Drops what came of a step that is not complete. A server's farewell covers no part of one."""
        if farewell and not self._held:
            self._cursor = farewell
        self._held, self._bytes = [], 0


def _joined(parts: List[api.QueryResponse]) -> api.QueryResponse:
    """Returns what the responses of one step say together."""
    whole = api.QueryResponse()
    for part in parts:
        late = whole.late_samples + part.late_samples
        whole.MergeFrom(part)
        whole.late_samples = late
    return whole


def _request(query: Query, cursor: str) -> api.QueryRequest:
    request = api.QueryRequest(
        expression=query.expression, follow=query.follow, on_change=query.on_change, label_references=True
    )
    if cursor:
        request.cursor = cursor
    elif query.since is not None:
        request.since.FromMilliseconds(round(query.since * 1000))
    if query.end is not None:
        request.end.FromMilliseconds(round(query.end * 1000))
    request.step.FromMilliseconds(round(query.step * 1000))
    request.delay.FromMilliseconds(round(query.delay * 1000))
    if query.lookback:
        request.lookback.FromMilliseconds(round(query.lookback * 1000))
    if query.follow:
        request.heartbeat_interval.FromMilliseconds(round(query.heartbeat_interval * 1000))
    if query.refuse_when_away:
        request.when_away = WHEN_AWAY_REFUSE
    return request
