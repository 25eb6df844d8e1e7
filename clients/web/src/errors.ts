import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { DurationSchema, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { InvalidExpressionSchema } from "../gen/promgrpc/query/v1/query_service_pb";
import { CursorOutOfRangeSchema, InvalidSelectorSchema, StreamInterrupted_Reason, StreamInterruptedSchema } from "../gen/promgrpc/metrics/v1/metrics_service_pb";

// OutOfRangeError says that samples after the cursor are not retained any more.
export class OutOfRangeError extends Error {
  override readonly name = "OutOfRangeError";

  constructor(
    message: string,
    // oldestCursor that works at this server.
    readonly oldestCursor: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

// Codes that another attempt may cure. Proxies turn the death of their server
// into Internal, Canceled or Unknown as often as into Unavailable.
const passing = new Set([
  Code.Unavailable,
  Code.Internal,
  Code.Canceled,
  Code.Unknown,
  Code.Aborted,
  Code.DeadlineExceeded,
]);

// resumable says whether the stream that ended in err may be reopened. A stream
// that was cut within a message looks like an invalid argument to the transport;
// only the text differs. A call over a limit is refused every time, unless the
// server says when to come again.
export function resumable(err: ConnectError): boolean {
  if (err.code === Code.ResourceExhausted) return retryDelay(err) !== undefined;
  return passing.has(err.code) || err.rawMessage.startsWith("protocol error");
}

// brokeOff says whether a call ended without a status: fetch failed, the answer
// was cut, or a balancer lost the server. A timeout is none of these.
export function brokeOff(err: ConnectError): boolean {
  return err.cause !== undefined || err.rawMessage.startsWith("protocol error") || err.rawMessage === "HTTP 502";
}

// retryDelay returns how many milliseconds a server that refused a call asks to
// wait: field 1 of a google.rpc.RetryInfo, a Duration.
export function retryDelay(err: ConnectError): number | undefined {
  const info = err.details.find((d) => "type" in d && d.type === "google.rpc.RetryInfo");
  if (info === undefined || !("type" in info)) return undefined;
  let delay = 0;
  try {
    const reader = new BinaryReader(info.value);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === 1) delay = Math.max(0, durationMs(fromBinary(DurationSchema, reader.bytes())));
      else reader.skip(type);
    }
  } catch {
    // The call may be repeated, and the server does not say when.
  }
  return delay;
}

// outOfRange returns an error if err says that the cursor is too old.
export function outOfRange(err: ConnectError): OutOfRangeError | undefined {
  if (err.code !== Code.OutOfRange) return undefined;
  const [detail] = err.findDetails(CursorOutOfRangeSchema);
  return new OutOfRangeError(err.rawMessage, detail?.oldestCursor ?? "", { cause: err });
}

// Range is a part of a text, in UTF-16 units, as in strings.
export interface Range {
  start: number;
  end: number;
}

// Place is a part of a selector.
export interface Place extends Range {
  // index of the selector in the request.
  index: number;
}

// invalidPlace returns where a selector of the request is invalid, if err says so.
export function invalidPlace(err: ConnectError, selectors: string[]): Place | undefined {
  const [detail] = err.findDetails(InvalidSelectorSchema);
  const text = detail && selectors[detail.index];
  return text === undefined ? undefined : { index: detail!.index, ...inUnits(text, detail!) };
}

// expressionPlace returns where the expression of a query is invalid, if err says so.
export function expressionPlace(err: ConnectError, expression: string): Range | undefined {
  const [detail] = err.findDetails(InvalidExpressionSchema);
  return detail && inUnits(expression, detail);
}

// inUnits turns offsets in bytes into those of strings.
function inUnits(text: string, { start, end }: Range): Range {
  const bytes = new TextEncoder().encode(text);
  const units = (end: number) => new TextDecoder().decode(bytes.subarray(0, end)).length;
  return { start: units(start), end: units(end) };
}

// isAged says whether the server ended the stream only for its age, so that it can
// be resumed anywhere.
export function isAged(err: ConnectError): boolean {
  return err.findDetails(StreamInterruptedSchema)[0]?.reason === StreamInterrupted_Reason.MAX_AGE;
}

// farewell returns the cursor of a server that ended the stream, "" without one.
export function farewell(err: ConnectError): string {
  return err.findDetails(StreamInterruptedSchema)[0]?.cursor ?? "";
}
