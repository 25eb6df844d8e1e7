import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const bin = process.env.BIN ?? "../../bin";

// Process is one of the programs. It learns its addresses from the log.
export class Process {
  private child?: ChildProcess;
  private log: string[] = [];
  private waiting: { pattern: RegExp; found: (match: RegExpExecArray) => void }[] = [];

  constructor(
    private readonly name: string,
    private args: string[],
  ) {}

  start(): this {
    const child = (this.child = spawn(join(bin, this.name), this.args, { stdio: ["ignore", "pipe", "pipe"] }));
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
      const timer = setTimeout(() => fail(new Error(`${this.name} does not log ${pattern}:\n${this.log.join("\n")}`)), 20_000);
      this.waiting.push({
        pattern,
        found: (match) => {
          clearTimeout(timer);
          found(match);
        },
      });
    });
  }

  async kill(): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  // again starts it anew, with other flags if given.
  again(args = this.args): void {
    this.args = args;
    this.log = [];
    this.start();
  }
}

// Pipeline is a receiver, a forwarder and a server, each a process.
export class Pipeline {
  private readonly folder = mkdtempSync(join(tmpdir(), "page-"));
  private parts: Process[] = [];
  private server!: Process;
  private serverArgs: string[] = [];
  // page is where the server serves the page and the API.
  page = "";
  // write is where the receiver takes remote write.
  write = "";

  async start(): Promise<void> {
    const any = "127.0.0.1:0";
    const web = `--web.listen-address=${any}`;
    const server = (link: string, rpc: string) => [
      web, `--link.listen-address=${link}`, `--rpc.listen-address=${rpc}`, `--storage.path=${this.folder}/server`, "--instance=server-1",
    ];
    this.server = new Process("prometheus-api-server", server(any, any)).start();
    this.parts.push(this.server);
    const link = await this.server.address("link");
    const rpc = await this.server.address("rpc");
    // The forwarder and the page look for it where it was.
    this.serverArgs = server(link, rpc);
    const forwarder = new Process("metrics-forwarder", [
      web, `--link.listen-address=${any}`, `--server=${link}`, `--storage.path=${this.folder}/forwarder`,
    ]).start();
    this.parts.push(forwarder);
    const receiver = new Process("prometheus-remote-receiver", [web, `--forwarder=${await forwarder.address("link")}`]).start();
    this.parts.push(receiver);
    this.page = `http://${rpc}`;
    this.write = `http://${await receiver.address("web")}/api/v1/write`;
  }

  killServer(): Promise<void> {
    return this.server.kill();
  }

  restartServer(): void {
    this.server.again(this.serverArgs);
  }

  async stop(): Promise<void> {
    await Promise.all(this.parts.map((part) => part.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
