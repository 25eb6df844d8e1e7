import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { DurationSchema, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
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

// Codes that another attempt may cure. Proxies turn the death of a server
// behind them into Internal, Canceled or Unknown as often as into Unavailable.
const passing = new Set([
  Code.Unavailable,
  Code.Internal,
  Code.Canceled,
  Code.Unknown,
  Code.Aborted,
  Code.DeadlineExceeded,
]);

// resumable says whether the stream that ended in err may be opened again. A
// stream that was cut within a message looks like an invalid argument to the
// transport, which is told apart by the words. What is over a limit is so every
// time, unless the server says when to come again.
export function resumable(err: ConnectError): boolean {
  if (err.code === Code.ResourceExhausted) return retryDelay(err) !== undefined;
  return passing.has(err.code) || err.rawMessage.startsWith("protocol error");
}

// brokeOff says whether a call ended without a status: fetch failed, the answer
// was cut, or a balancer lost the server. A timeout is none of these.
export function brokeOff(err: ConnectError): boolean {
  return err.cause !== undefined || err.rawMessage.startsWith("protocol error") || err.rawMessage === "HTTP 502";
}

// retryDelay is when, in milliseconds, the server that refused a call would have
// it again. It reads a google.rpc.RetryInfo, whose field 1 is a Duration.
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
    // The server wants the call again, and does not say when.
  }
  return delay;
}

// outOfRange returns the error for a cursor that is too old, if err is that.
export function outOfRange(err: ConnectError): OutOfRangeError | undefined {
  if (err.code !== Code.OutOfRange) return undefined;
  const [detail] = err.findDetails(CursorOutOfRangeSchema);
  return new OutOfRangeError(err.rawMessage, detail?.oldestCursor ?? "", { cause: err });
}

// Place is a part of a selector, in UTF-16 units as strings have them.
export interface Place {
  // index of the selector in the request.
  index: number;
  start: number;
  end: number;
}

// invalidPlace returns what is wrong in one of the selectors of the request that
// err refuses, if that is the reason.
export function invalidPlace(err: ConnectError, selectors: string[]): Place | undefined {
  const [detail] = err.findDetails(InvalidSelectorSchema);
  const text = detail && selectors[detail.index];
  if (text === undefined) return undefined;
  const bytes = new TextEncoder().encode(text);
  const units = (end: number) => new TextDecoder().decode(bytes.subarray(0, end)).length;
  return { index: detail!.index, start: units(detail!.start), end: units(detail!.end) };
}

// isAged says whether the server ended the stream for its age alone, so that it
// goes on wherever there is room.
export function isAged(err: ConnectError): boolean {
  return err.findDetails(StreamInterruptedSchema)[0]?.reason === StreamInterrupted_Reason.MAX_AGE;
}

// handedOver is the cursor that a server gave which ended the stream.
export function handedOver(err: ConnectError): string {
  return err.findDetails(StreamInterruptedSchema)[0]?.cursor ?? "";
}
