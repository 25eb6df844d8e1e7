"""Values of samples, written and decoded as Prometheus does."""

import math
import struct
from decimal import Decimal
from typing import Iterator, NamedTuple

from promgrpc.metrics.v1 import metrics_pb2

STALE_NAN = 0x7FF0000000000002

# The schema of histograms with custom bounds.
CUSTOM_BUCKETS = -53


def is_stale(value: float) -> bool:
    """Distinguishes a stale marker, which ends a series, from other NaNs."""
    return struct.unpack("<Q", struct.pack("<d", value))[0] == STALE_NAN


def format_float(value: float) -> str:
    """Returns the shortest text that parses to the same float, as Prometheus' HTTP API writes it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        return repr(value)
    return format(Decimal(repr(value)), "f").removesuffix(".0")


class Bucket(NamedTuple):
    """Bucket of a native histogram."""

    lower: float
    upper: float
    lower_inclusive: bool
    upper_inclusive: bool
    count: float


def histogram_count(h: metrics_pb2.Histogram) -> float:
    """Returns the number of observations of an integer or float histogram."""
    return h.count_int if h.WhichOneof("count") == "count_int" else h.count_float


def histogram_buckets(h: metrics_pb2.Histogram) -> Iterator[Bucket]:
    """Yields the buckets that are not empty, from the lowest to the highest.

    Bounds are powers of 2; Prometheus' own may differ in the last digit.
    """
    zero = h.zero_threshold
    negative = _counts(h.negative_spans, h.negative_deltas, h.negative_counts)
    for index, count in reversed(list(negative)):
        lower, upper = -_bound(h, index), -_bound(h, index - 1)
        if count:
            yield Bucket(lower, min(upper, -zero), True, False, count)
    zero_count = h.zero_count_int or h.zero_count_float
    if zero_count:
        yield Bucket(-zero, zero, True, True, zero_count)
    for index, count in _counts(h.positive_spans, h.positive_deltas, h.positive_counts):
        lower, upper = _bound(h, index - 1), _bound(h, index)
        if h.schema != CUSTOM_BUCKETS:
            lower = max(lower, zero)
        if count:
            yield Bucket(lower, upper, math.isinf(lower), True, count)


def _counts(spans, deltas, counts):
    """Yields index and count of each bucket. Integers come as deltas, floats as they are."""
    index, total, i = 0, 0, 0
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            if deltas:
                total += deltas[i]
            else:
                total = counts[i]
            yield index, total
            index += 1
            i += 1


def _bound(h: metrics_pb2.Histogram, index: int) -> float:
    """Returns the upper bound of the bucket with this index, which is the lower bound of the next one."""
    if h.schema == CUSTOM_BUCKETS:
        if index < 0:
            return -math.inf
        return h.custom_values[index] if index < len(h.custom_values) else math.inf
    if h.schema <= 0:
        exponent, fraction = index << -h.schema, 0.5
    else:
        exponent, step = divmod(index, 1 << h.schema)
        fraction = 2 ** (step / (1 << h.schema)) / 2
    if fraction == 0.5 and exponent == 1024:
        return math.nextafter(math.inf, 0)  # The bucket that ends at the largest float.
    try:
        return math.ldexp(fraction, exponent + 1)
    except OverflowError:
        return math.inf
