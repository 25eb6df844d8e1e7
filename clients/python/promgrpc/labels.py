"""Labels that cross the network once a stream."""

from typing import Dict

from promgrpc.errors import Interrupted
from promgrpc.metrics.v1.metrics_pb2 import TimeSeries

# Labels by the reference that stands for them, each as a series without samples.
Labels = Dict[int, TimeSeries]


def restore_labels(labels: Labels, response) -> None:
    """Replaces the references of a response by the labels that they stand for."""
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
            raise Interrupted("series with an unknown reference")
        series.ref = 0
