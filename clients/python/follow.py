#!/usr/bin/env python3
"""Prints series as they arrive, an object a line, from whichever replica is alive.

    PYTHONPATH=clients/python:clients/python/gen clients/python/follow.py \\
        --address localhost:8090,localhost:8091 --follow --cursor-file up.cursor 'up' '{__name__=~"go_.*"}'

The lines have the form of `prometheus-grpc-client get --output json`: values are strings that parse to the same float, a
stale marker says so, and a native histogram is an object with its buckets. On a terminal, characters that would control it
are escaped.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from typing import Optional

import grpc
from promgrpc.credentials import TLS, password_file, token_file
from promgrpc.errors import OutOfRangeError, UnreachableError
from promgrpc.metrics.v1.metrics_pb2 import TimeSeries
from promgrpc.selection import Selection
from promgrpc.stream import Client
from promgrpc.suspicion import SuspectError
from promgrpc.terminal import visible
from promgrpc.values import format_float, histogram_buckets, histogram_count, is_stale


def main() -> int:
    args = arguments()
    try:
        client = connect(args)
    except (OSError, ValueError) as e:
        log(str(e))
        return 2
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda *_: client.stop())
    try:
        file = CursorFile(args.cursor_file)
        cursor = file.read()
    except (OSError, ValueError) as e:
        log(cursor_file_error(args, e))
        return 1
    selection = Selection(
        selectors=args.selector,
        since=None if cursor or args.since is None else time.time() - args.since,
        cursor=cursor,
        follow=args.follow,
        heartbeat_interval=args.heartbeat,
    )
    try:
        for update in client.get(selection):
            if update.rewound:
                log("some samples come again")
            if update.response.HasField("gap"):
                log(f"samples are missing: {update.response.gap.reason}")
            if update.response.HasField("away"):
                log(f"no server answers of: {', '.join(update.response.away.groups) or 'none any more'}")
            for series in update.response.timeseries:
                for line in lines(series):
                    print(visible(json.dumps(line, ensure_ascii=False), sys.stdout))
            # The output first, then the cursor: after a crash in between samples come again, and none is lost.
            sys.stdout.flush()
            try:
                file.replace(update.response.cursor)
            except OSError as e:
                log(cursor_file_error(args, e))
                return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # What is left is not wanted.
        return 0
    except OutOfRangeError as e:
        log(f"{e}; the oldest cursor that works is {e.oldest_cursor}")
        return 4
    except UnreachableError as e:
        log(f"cannot reach {e}")
        return 3
    except SuspectError as e:
        log(str(e))
        return 5
    except grpc.RpcError as e:
        log(f"{e.code().name}: {e.details()}")
        return 1
    return 0


def connect(args: argparse.Namespace) -> Client:
    files = args.tls_ca_file, args.tls_cert_file, args.tls_key_file, args.tls_server_name
    tls = TLS(*files) if args.tls or any(files) else None
    authorization = None
    if args.bearer_token_file and (args.basic_auth_user or args.basic_auth_password_file):
        raise ValueError("--bearer-token-file and --basic-auth-user exclude each other")
    if (args.basic_auth_user is None) != (args.basic_auth_password_file is None):
        raise ValueError("--basic-auth-user and --basic-auth-password-file belong together")
    if args.bearer_token_file:
        authorization = token_file(args.bearer_token_file)
    elif args.basic_auth_user:
        authorization = password_file(args.basic_auth_user, args.basic_auth_password_file)
    # What is wrong from the start is a mistake.
    if tls:
        tls.credentials()
    if authorization:
        authorization()
    return Client(
        args.address.split(","),
        tls=tls,
        authorization=authorization,
        allow_cleartext_credentials=args.allow_cleartext_credentials,
        on_interrupt=lambda address, reason: log(f"{address}: {reason}"),
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print series as they arrive.")
    parser.add_argument("selector", nargs="*", help="PromQL series selectors, all series if there is none")
    parser.add_argument("--address", default="localhost:8090", help="HOST:PORT[,…] of the replicas")
    parser.add_argument("--follow", action="store_true", help="go on with new samples")
    parser.add_argument("--since", type=float, metavar="SECONDS", help="start with the stored samples of the last SECONDS")
    parser.add_argument("--heartbeat", type=float, default=10, metavar="SECONDS", help="give up a server that is silent for three times as long")
    parser.add_argument("--cursor-file", help="where the cursor is kept, for the next run to resume; only one run at a time may use it")
    parser.add_argument("--tls", action="store_true", help="use TLS; the other --tls flags imply it")
    parser.add_argument("--tls-ca-file", metavar="FILE", help="CA certificates to trust, PEM")
    parser.add_argument("--tls-cert-file", metavar="FILE", help="client certificate, PEM")
    parser.add_argument("--tls-key-file", metavar="FILE", help="key of the client certificate, PEM")
    parser.add_argument("--tls-server-name", metavar="NAME", help="name in the server's certificate, if not the host of the address")
    parser.add_argument("--bearer-token-file", metavar="FILE", help="token to send as Authorization")
    parser.add_argument("--basic-auth-user", metavar="NAME", help="user to send as Authorization, with a password")
    parser.add_argument("--basic-auth-password-file", metavar="FILE", help="password of the user")
    parser.add_argument("--allow-cleartext-credentials", action="store_true", help="send credentials without TLS to other machines, too")
    return parser.parse_args()


def cursor_file_error(args: argparse.Namespace, error: Exception) -> str:
    reason = "another run uses it" if isinstance(error, BlockingIOError) else getattr(error, "strerror", None) or "it has no cursor"
    return f"--cursor-file {args.cursor_file}: {reason}"


def lines(series: TimeSeries):
    """Yields an object for each sample, histogram and exemplar."""
    metric = {label.name: label.value for label in series.labels}
    for sample in series.samples:
        yield {"metric": metric, "timestamp": sample.timestamp, **started(sample), **value(sample.value)}
    for h in series.histograms:
        line = {"metric": metric, "timestamp": h.timestamp, **started(h)}
        yield {**line, **value(h.sum)} if is_stale(h.sum) else {**line, "histogram": histogram(h)}
    for e in series.exemplars:
        labels = {label.name: label.value for label in e.labels}
        yield {"metric": metric, "exemplar": {"labels": labels, "value": format_float(e.value), "timestamp": e.timestamp}}


def started(sample) -> dict:
    """Returns the start timestamp, if that is known."""
    return {"start_timestamp": sample.start_timestamp} if sample.start_timestamp else {}


def value(v: float) -> dict:
    if is_stale(v):
        return {"value": "StaleNaN", "stale": True}
    return {"value": format_float(v)}


def histogram(h) -> dict:
    """Returns a histogram as Prometheus' HTTP API has it: a bucket is [rule, lower, upper, count]."""
    # Which bounds belong to the bucket: 0 the upper, 1 the lower, 2 none, 3 both.
    rules = {(False, True): 0, (True, False): 1, (False, False): 2, (True, True): 3}
    buckets = [
        [rules[b.lower_inclusive, b.upper_inclusive], format_float(b.lower), format_float(b.upper), format_float(b.count)]
        for b in histogram_buckets(h)
    ]
    return {"count": format_float(histogram_count(h)), "sum": format_float(h.sum), **({"buckets": buckets} if buckets else {})}


class CursorFile:
    """Keeps the cursor of what was printed. It is replaced as a whole, and locked until the program ends."""

    def __init__(self, path: Optional[str]):
        self._path, self._file = path, None
        while path is not None:
            self._file = _locked(path)
            try:
                if os.path.samestat(os.fstat(self._file.fileno()), os.stat(path)):
                    return
            except FileNotFoundError:
                pass
            self._file.close()  # Another run replaced it before it was locked.

    def read(self) -> str:
        return self._file.read().strip() if self._file else ""

    def replace(self, cursor: str) -> None:
        if not self._file or not cursor:
            return
        new = _locked(self._path + ".new")
        new.truncate()
        new.write(cursor + "\n")
        new.flush()
        os.fsync(new.fileno())
        os.replace(self._path + ".new", self._path)
        self._file.close()
        self._file = new


def _locked(path: str):
    """Opens a file, which it makes if there is none, and locks it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def log(message: str) -> None:
    print(visible(message, sys.stderr), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
