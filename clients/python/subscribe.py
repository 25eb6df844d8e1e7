#!/usr/bin/env python3
"""Prints what a PromQL expression comes to, a step a line, from whichever replica is alive.

    PYTHONPATH=clients/python:clients/python/gen clients/python/subscribe.py \\
        --address localhost:8090,localhost:8091 --follow 'sum by (job) (rate(http_requests_total[5m]))'

A line is an object with the time of the step in milliseconds, the results, and the cursor: started again with the last one,
the program goes on with the next step.
"""

import argparse
import json
import signal
import sys
import time

import grpc
from promgrpc.errors import ExpressionError, OutOfRangeError, UnreachableError
from promgrpc.expression import Query
from promgrpc.stream import Client
from promgrpc.suspicion import SuspectError
from promgrpc.terminal import visible
from promgrpc.values import format_float, is_stale


def main() -> int:
    args = arguments()
    client = Client(args.address.split(","), on_interrupt=lambda address, reason: log(f"{address}: {reason}"))
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda *_: client.stop())
    query = Query(
        args.expression,
        since=None if args.cursor or args.since is None else time.time() - args.since,
        cursor=args.cursor,
        step=args.step,
        follow=args.follow,
        on_change=args.on_change,
        refuse_when_away=args.refuse_when_away,
    )
    told = set()  # Annotations.
    try:
        for steps in client.query(query):
            if steps.response.HasField("away"):
                log(f"no server answers of: {', '.join(steps.response.away.groups) or 'none any more'}")
            for annotation in steps.response.annotations:
                if annotation.text not in told:
                    told.add(annotation.text)
                    log(annotation.text)
            results = [result(series) for series in steps.response.timeseries]
            if results:
                line = {"evaluated": steps.response.evaluated.ToMilliseconds(), "results": results, "cursor": steps.response.cursor}
                print(visible(json.dumps(line), sys.stdout), flush=True)
    except ExpressionError as e:
        before = args.expression.encode()[: e.start].decode("utf-8", "replace")
        log(f"{e}\n  {args.expression}\n  {' ' * len(before)}^")
        return 1
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


def result(series) -> dict:
    """Returns the values of a series by the time of their step. Histograms are left out."""
    metric = {label.name: label.value for label in series.labels}
    values = {s.timestamp: "StaleNaN" if is_stale(s.value) else format_float(s.value) for s in series.samples}
    return {"metric": metric, "values": values}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print what an expression comes to, step by step.")
    parser.add_argument("expression", help="PromQL expression")
    parser.add_argument("--address", default="localhost:8090", help="HOST:PORT[,…] of the replicas")
    parser.add_argument("--follow", action="store_true", help="go on with each step as it becomes due")
    parser.add_argument("--since", type=float, metavar="SECONDS", help="start with the steps of the last SECONDS")
    parser.add_argument("--cursor", default="", help="start with the step after the one that had this cursor")
    parser.add_argument("--step", type=float, default=15, metavar="SECONDS", help="time between two steps")
    parser.add_argument("--on-change", action="store_true", help="print only series whose value has changed")
    parser.add_argument("--refuse-when-away", action="store_true", help="fail while a group of a router is away, rather than wait")
    return parser.parse_args()


def log(message: str) -> None:
    print(visible(message, sys.stderr), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
