#!/usr/bin/env python3
"""Collects a window of samples and prints statistics of each series. The cells (# %%) run one by one in a notebook."""

# %% What to look at
import statistics
import sys
import time
from collections import defaultdict

from promgrpc.selection import Selection
from promgrpc.stream import Client
from promgrpc.values import is_stale

addresses = sys.argv[1].split(",")
selectors = sys.argv[2:]
window = 600  # seconds

# %% Collect it
samples = defaultdict(list)  # values by series
for update in Client(addresses).get(Selection(selectors=selectors, since=time.time() - window)):
    for series in update.response.timeseries:
        labels = {label.name: label.value for label in series.labels}
        name = labels.pop("__name__", "")
        key = name + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}"
        samples[key] += [s.value for s in series.samples if not is_stale(s.value)]

# %% Print a table
print(f"{'series':40} {'samples':>7} {'min':>8} {'mean':>8} {'median':>8} {'max':>8} {'deviation':>9}")
for key, values in sorted(samples.items()):
    row = min(values), statistics.fmean(values), statistics.median(values), max(values)
    print(f"{key:40} {len(values):7}", *(f"{v:8.2f}" for v in row), f"{statistics.pstdev(values):9.2f}")
