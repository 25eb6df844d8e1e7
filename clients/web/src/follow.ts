import { createClient, type Transport } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  GetMetricsRequestSchema,
  MetricsService,
  type GetMetricsRequest,
  type GetMetricsResponse,
} from "../gen/promgrpc/metrics/v1/metrics_service_pb";
import type { WhenAway } from "../gen/promgrpc/metrics/v1/metrics_pb";
import { resume, type FollowOptions, type Progress } from "./resume";

// Selection says which series to get, from where, and how long. Times and
// durations are in milliseconds.
export interface Selection {
  // selectors are PromQL series selectors, any of which may match. None: all.
  selectors?: string[];
  // since replays the retained samples from this time on.
  since?: number;
  // cursor resumes right after the Update that had it; since is ignored then.
  cursor?: string;
  // follow goes on with new samples once the present is reached.
  follow?: boolean;
  minInterval?: number;
  // heartbeatInterval is how long a following stream may be quiet, 10 seconds
  // by default. A server that is silent for three times as long is given up.
  heartbeatInterval?: number;
  // whenAway is what a router does while a group of servers is away: go on with the
  // others, say so by an away event, and wait; or refuse.
  whenAway?: WhenAway;
}

// Update is a part of the stream.
export interface Update {
  response: GetMetricsResponse;
  // rewound says that the stream broke where it could not be resumed: what came
  // since the last Update with a cursor comes again, starting here.
  rewound: boolean;
}

// follow yields what the selection asks for, and resumes the stream after the last
// cursor whenever it breaks. Through a balancer another server may resume it.
//
// Everything that is yielded is covered by the cursor of the next Update that
// has one: between two cursors nothing is lost, repeated or reordered. It ends
// after the Update with the end event. It throws an OutOfRangeError if what follows
// its cursor is not retained any more, a SuspectError if this very call seems to
// kill servers, and a ConnectError that another attempt would not cure. A following
// stream that was served before does not give up on a suspicion, but pauses for up
// to a minute.
export function follow(transport: Transport, selection: Selection, options: FollowOptions = {}): AsyncGenerator<Update> {
  const client = createClient(MetricsService, transport);
  const call = {
    follow: selection.follow === true,
    heartbeatInterval: selection.heartbeatInterval,
    open: (cursor: string, how: object) => client.getMetrics(request(selection, cursor), how),
  };
  return resume(transport, call, new Covered(selection.cursor ?? ""), options);
}

// Covered yields each response as it comes, and knows which will come again.
class Covered implements Progress<GetMetricsResponse, Update> {
  private uncovered = false; // samples were yielded since cursor
  private rewound = false; // the next update is the first that comes again

  constructor(public cursor: string) {}

  take(response: GetMetricsResponse): Update {
    const update = { response, rewound: this.rewound };
    this.rewound = false;
    if (response.cursor !== "") {
      this.cursor = response.cursor;
      this.uncovered = false;
    } else if (response.timeseries.length > 0) {
      this.uncovered = true;
    }
    return update;
  }

  broke(farewell: string): void {
    if (farewell !== "") {
      this.cursor = farewell;
      this.uncovered = false;
    }
    this.rewound ||= this.uncovered;
    this.uncovered = false;
  }
}

function request(selection: Selection, cursor: string): GetMetricsRequest {
  const { selectors, follow, since } = selection;
  // A snapshot has each series only once.
  const labelReferences = follow === true || cursor !== "" || since !== undefined;
  const req = create(GetMetricsRequestSchema, { selectors, follow, labelReferences, whenAway: selection.whenAway });
  if (cursor !== "") {
    req.start = { case: "cursor", value: cursor };
  } else if (since !== undefined) {
    req.start = { case: "since", value: timestampFromMs(since) };
  }
  if (selection.minInterval) req.minInterval = durationFromMs(selection.minInterval);
  if (selection.heartbeatInterval) req.heartbeatInterval = durationFromMs(selection.heartbeatInterval);
  return req;
}
