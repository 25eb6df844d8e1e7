import { Code, ConnectError } from "@connectrpc/connect";
import { CursorOutOfRangeSchema, StreamInterruptedSchema } from "../gen/promgrpc/metrics/v1/metrics_service_pb";

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
  Code.ResourceExhausted,
  Code.DeadlineExceeded,
]);

// resumable says whether the stream that ended in err may be opened again. A
// stream that was cut within a message looks like an invalid argument to the
// transport, which is told apart by the words.
export function resumable(err: ConnectError): boolean {
  return passing.has(err.code) || err.rawMessage.startsWith("protocol error");
}

// outOfRange returns the error for a cursor that is too old, if err is that.
export function outOfRange(err: ConnectError): OutOfRangeError | undefined {
  if (err.code !== Code.OutOfRange) return undefined;
  const [detail] = err.findDetails(CursorOutOfRangeSchema);
  return new OutOfRangeError(err.rawMessage, detail?.oldestCursor ?? "", { cause: err });
}

// handedOver is the cursor that a draining server ended its stream with.
export function handedOver(err: ConnectError): string {
  return err.findDetails(StreamInterruptedSchema)[0]?.cursor ?? "";
}
