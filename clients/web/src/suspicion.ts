import { ConnectError, type Client } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { MetricsService } from "../gen/promgrpc/metrics/v1/metrics_service_pb";
import { brokeOff, resumable } from "./errors";

// A call is not made any more after so many servers died of it, or after it
// broke so often before the first message.
const maxDeaths = 2;
const maxBreaks = 3;

const statusTimeout = 10_000;
const maxPause = 60_000;

// SuspectError says that servers died, as far as one can tell, of the very
// call that they were answering, so that it is not carried on to the next ones.
export class SuspectError extends Error {
  override readonly name = "SuspectError";

  constructor(
    // breaks is how many attempts broke off in a row.
    readonly breaks: number,
    // deaths are those after which the server did not answer any more, or had
    // started after the call was made.
    readonly deaths: number,
    cause: ConnectError,
  ) {
    const what =
      deaths >= maxDeaths
        ? `${deaths} servers died while they answered this call`
        : `this call broke off ${breaks} times before its answer began, and servers may have died of it`;
    super(`${what}: ${cause.rawMessage}`, { cause });
  }
}

// Suspicion is that servers die of a call. It grows when an attempt breaks off
// before the first message. fetch does not tell a connection that broke from one
// that was refused. So from the first break on a server is asked for its status
// ahead of each attempt: the call is given only to one that answers. Who lives and
// who died is then told by what it says afterwards. Behind a balancer that may be
// another server; then nothing is certain, and the breaks are counted.
export class Suspicion {
  private breaks = 0;
  private deaths = 0;
  private asked = false; // ahead of this attempt
  private sent = 0;

  constructor(private readonly client: Client<typeof MetricsService>) {}

  // begin comes ahead of an attempt. It throws if no server answers anything now.
  async begin(signal?: AbortSignal): Promise<void> {
    this.asked = this.breaks > 0;
    if (this.asked) await this.uptime(signal);
    this.sent = Date.now();
  }

  // broke takes in what an attempt ended with before any message. It returns an
  // error when the call should not be made any more.
  async broke(err: ConnectError, signal?: AbortSignal): Promise<SuspectError | undefined> {
    if (!brokeOff(err)) return undefined;
    const asked = Date.now();
    // A server that does not answer after it did has died, and so has one that started since.
    const uptime = await this.uptime(signal).catch(() => (this.asked ? 0 : Infinity));
    if (signal?.aborted) return undefined;
    if (uptime < Math.max(1, asked - this.sent)) this.deaths++;
    this.breaks++;
    return this.deaths >= maxDeaths || this.breaks >= maxBreaks ? new SuspectError(this.breaks, this.deaths, err) : undefined;
  }

  // clear comes with each message.
  clear(): void {
    this.breaks = this.deaths = 0;
  }

  // pause is how long to wait at least before the next attempt.
  pause(minBackoff: number, maxBackoff: number): number {
    if (this.breaks === 0) return 0;
    const over = Math.max(this.breaks - maxBreaks, this.deaths - maxDeaths);
    const most = over < 0 ? Math.min(10 * minBackoff * 2 ** (this.breaks - 1), maxBackoff) : Math.min(maxBackoff * 2 ** over, maxPause);
    return most / 2 + (Math.random() * most) / 2;
  }

  // uptime of a server in milliseconds, infinite for one that lives and does not
  // tell. It throws if none answers.
  private async uptime(signal?: AbortSignal): Promise<number> {
    try {
      const { uptime } = await this.client.getStatus({}, { signal, timeoutMs: statusTimeout });
      return uptime ? durationMs(uptime) : Infinity;
    } catch (reason) {
      const err = ConnectError.from(reason);
      if (resumable(err)) throw err;
      return Infinity;
    }
  }
}
