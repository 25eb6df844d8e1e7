"""What ends a stream, and what an error of gRPC means for it."""

from typing import Iterator, Optional

import grpc
from google.protobuf import any_pb2, duration_pb2, empty_pb2

from promgrpc.metrics.v1 import metrics_service_pb2 as api
from promgrpc.query.v1 import query_service_pb2 as query_api

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


class OutOfRangeError(Exception):
    """The stream cannot resume, because what follows its cursor is not retained any more."""

    def __init__(self, message: str, oldest_cursor: str):
        super().__init__(message)
        self.oldest_cursor = oldest_cursor  # The oldest that works, "" if the server did not say.


class ExpressionError(Exception):
    """An expression does not parse, or is of a kind that cannot be streamed."""

    def __init__(self, message: str, start: int, end: int):
        super().__init__(message)
        self.start, self.end = start, end  # Offsets in bytes of what is wrong; equal where something is missing.


class UnreachableError(Exception):
    """No server could be reached, or none would resume a stream, and the attempts are used up."""


class Interrupted(Exception):
    """A stream broke in a way that another attempt may cure."""

    def __init__(self, message: str, cursor: str = "", retry_delay: float = 0, aged: bool = False):
        super().__init__(message)
        self.cursor = cursor  # Where it can be resumed, if the server that ended it said so.
        self.aged = aged  # Nothing is wrong: a server ends its streams at some age, so that they spread.
        self.retry_delay = retry_delay  # Seconds, where a server says when to come again.


def translate(error: grpc.RpcError) -> Exception:
    """Returns the exception that the error of a stream means."""
    code, message = error.code(), f"{error.code().name}: {error.details()}"
    if code == grpc.StatusCode.OUT_OF_RANGE:
        out_of_range = _detail(error, api.CursorOutOfRange())
        return OutOfRangeError(message, out_of_range.oldest_cursor)
    for packed in _details(error):
        if packed.Is(query_api.InvalidExpression.DESCRIPTOR):
            wrong = _detail(error, query_api.InvalidExpression())
            return ExpressionError(message, wrong.start, wrong.end)
    retry_delay = _retry_delay(error)
    if code in RESUMABLE or code == grpc.StatusCode.RESOURCE_EXHAUSTED and retry_delay is not None:
        interrupted = _detail(error, api.StreamInterrupted())
        aged = interrupted.reason == api.StreamInterrupted.REASON_MAX_AGE
        return Interrupted(message, interrupted.cursor, retry_delay or 0, aged)
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
