import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { createInterface } from "node:readline";

// Process is one of the programs. It learns its addresses from the log.
export class Process {
  private child?: ChildProcess;
  private log: string[] = [];
  private waiting: { pattern: RegExp; found: (match: RegExpExecArray) => void }[] = [];

  constructor(
    private readonly program: string,
    private readonly args: string[],
    private readonly env: Record<string, string> = {},
  ) {}

  start(): this {
    this.log = [];
    const child = (this.child = spawn(this.program, this.args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...this.env } }));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on("line", (line) => {
        this.log.push(line);
        this.waiting = this.waiting.filter(({ pattern, found }) => {
          const match = pattern.exec(line);
          if (match) found(match);
          return !match;
        });
      });
    }
    return this;
  }

  // address that a listener got.
  async address(listener: string): Promise<string> {
    const pattern = new RegExp(`listening.*listener=${listener} address=(\\S+)`);
    const known = this.log.map((line) => pattern.exec(line)).find((match) => match);
    const match = known ?? (await this.logged(pattern));
    return match[1]!;
  }

  private logged(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((found, fail) => {
      const timer = setTimeout(() => fail(this.failure(`does not log ${pattern}`)), 20_000);
      this.waiting.push({
        pattern,
        found: (match) => {
          clearTimeout(timer);
          found(match);
        },
      });
    });
  }

  // eventually waits until something holds of the process.
  async eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
    for (const end = Date.now() + 30_000; !(await holds().catch(() => false)); ) {
      if (Date.now() > end) throw this.failure(`still waiting for ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  private failure(what: string): Error {
    return new Error(`${basename(this.program)}: ${what}:\n${this.log.slice(-50).join("\n")}`);
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }
}
