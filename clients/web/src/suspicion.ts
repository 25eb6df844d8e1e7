import { ConnectError, type Client } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { MetricsService } from "../gen/promgrpc/metrics/v1/metrics_service_pb";
import { brokeOff, resumable } from "./errors";

// A call is given up after this many certain deaths of servers, or after it broke
// off this often before the first message.
const maxDeaths = 2;
const maxBreaks = 3;

const statusTimeout = 10_000;
const maxPause = 60_000;

// SuspectError says that servers died, as far as one can tell, of the very call
// that they were answering, so that it is not sent to more of them.
export class SuspectError extends Error {
  override readonly name = "SuspectError";

  constructor(
    // breaks is how many attempts broke off in a row.
    readonly breaks: number,
    // deaths is after how many of them the server did not answer any more, or had
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

// Suspicion is that a call kills servers. It grows when an attempt breaks off before
// the first message. fetch does not distinguish a lost connection from a refused
// one. So from the first break on, a server is asked for its status before each
// attempt, and the call is sent only if it answers. Its status afterwards shows
// whether it died. Through a balancer another server may answer; then nothing is
// certain, and the breaks are counted.
export class Suspicion {
  private breaks = 0;
  private deaths = 0;
  private asked = false; // before this attempt
  private sent = 0;

  constructor(private readonly client: Client<typeof MetricsService>) {}

  // before comes before an attempt. It throws if no server answers at all.
  async before(signal?: AbortSignal): Promise<void> {
    this.asked = this.breaks > 0;
    if (this.asked) await this.uptime(signal);
    this.sent = Date.now();
  }

  // after comes after an attempt that failed before any message. It returns an error
  // if the call should not be made any more.
  async after(err: ConnectError, signal?: AbortSignal): Promise<SuspectError | undefined> {
    if (!brokeOff(err)) return undefined;
    const asked = Date.now();
    // A server that answered and does so no longer has died, and so has one that restarted.
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

  // pause returns the least time to wait before the next attempt.
  pause(minBackoff: number, maxBackoff: number): number {
    if (this.breaks === 0) return 0;
    const over = Math.max(this.breaks - maxBreaks, this.deaths - maxDeaths);
    const most = over < 0 ? Math.min(10 * minBackoff * 2 ** (this.breaks - 1), maxBackoff) : Math.min(maxBackoff * 2 ** over, maxPause);
    return most / 2 + (Math.random() * most) / 2;
  }

  // uptime returns that of a server in milliseconds, Infinity if it is alive and does
  // not say. It throws if none answers.
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
