"""Series, as replicas of a MetricsService send them."""

from dataclasses import dataclass
from typing import Optional, Sequence

import grpc

from promgrpc.labels import Labels, restore_labels
from promgrpc.metrics.v1 import metrics_service_pb2 as api
from promgrpc.metrics.v1.metrics_pb2 import WHEN_AWAY_REFUSE
from promgrpc.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub


@dataclass(frozen=True)
class Selection:
    """Says which series to get, from where, and how long. By default: the latest sample of every live series."""

    selectors: Sequence[str] = ()  # PromQL series selectors, any of which may match; none means every series.
    since: Optional[float] = None  # Seconds since the Unix epoch: replay the retained samples from then on.
    cursor: str = ""  # Resume right after the Update that had it; `since` must be None then.
    follow: bool = False  # Go on with new samples once the present is reached.
    min_interval: float = 0  # Seconds between two samples of a series while following; 0 means every sample.
    heartbeat_interval: float = 10  # Seconds that a following stream may be quiet.
    refuse_when_away: bool = False  # At a router, while a group is away: refuse, rather than wait, and say so with `away`.


@dataclass(frozen=True)
class Update:
    """A part of the stream: series, an event, or both, and the cursor that covers all up to and including it."""

    response: api.GetMetricsResponse
    address: str  # The server that sent it.
    rewound: bool  # What came since the last Update with a cursor comes again, starting here.


class Getting:
    """How far a get has come."""

    def __init__(self, selection: Selection):
        if selection.since is not None and selection.cursor:
            raise ValueError("a selection has both a time and a cursor to start from")
        self.follow, self.heartbeat_interval = selection.follow, selection.heartbeat_interval
        self._selection = selection
        self._labels: Labels = {}
        self._cursor, self._uncovered, self._rewound = selection.cursor, False, False

    def open(self, channel: grpc.Channel, metadata) -> grpc.Call:
        """Opens a stream that goes on where the last one broke."""
        self._labels.clear()  # References are valid for one stream.
        return MetricsServiceStub(channel).GetMetrics(_request(self._selection, self._cursor), metadata=metadata)

    def restore(self, response: api.GetMetricsResponse) -> None:
        restore_labels(self._labels, response)

    def accept(self, response: api.GetMetricsResponse, address: str) -> Update:
        """Returns what there is to yield."""
        update = Update(response, address, self._rewound)
        self._rewound = False
        if response.cursor:
            self._cursor, self._uncovered = response.cursor, False
        elif response.timeseries:
            self._uncovered = True
        return update

    def broke(self, farewell: str) -> None:
        """Comes after a stream that broke. The server that ended it may have said where to go on."""
        if farewell:
            self._cursor, self._uncovered = farewell, False
        self._rewound, self._uncovered = self._rewound or self._uncovered, False


def _request(selection: Selection, cursor: str) -> api.GetMetricsRequest:
    # A snapshot has each series only once.
    references = selection.follow or bool(cursor) or selection.since is not None
    request = api.GetMetricsRequest(selectors=selection.selectors, follow=selection.follow, label_references=references)
    if cursor:
        request.cursor = cursor
    elif selection.since is not None:
        request.since.FromMilliseconds(round(selection.since * 1000))
    if selection.follow:
        request.heartbeat_interval.FromMilliseconds(round(selection.heartbeat_interval * 1000))
    if selection.min_interval:
        request.min_interval.FromMilliseconds(round(selection.min_interval * 1000))
    if selection.refuse_when_away:
        request.when_away = WHEN_AWAY_REFUSE
    return request
