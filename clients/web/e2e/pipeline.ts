import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "./ports";
import { Process } from "./process";

const bin = process.env.BIN ?? "../../bin";
const tools = process.env.TOOLS ?? "../../.tools";
const deploy = resolve("../../deploy");

// Pipeline is a receiver, a forwarder and two servers, each a process, with
// HAProxy before the servers, which finds them by Consul.
export class Pipeline {
  private readonly folder = mkdtempSync(join(tmpdir(), "page-"));
  // A loopback address of its own, so that ports that are free stay so.
  private readonly host = `127.${1 + (process.pid % 250)}.${1 + ((process.pid >> 8) % 250)}.7`;
  // consul is where Consul serves its API and UI.
  consul = "";
  private stats = "";
  private haproxy!: Process;
  private readonly servers = new Map<string, Process>();
  private parts: Process[] = [];
  // page is where HAProxy serves the page and the API.
  page = "";
  // write is where the receiver takes remote write.
  write = "";

  async start(): Promise<void> {
    const [http, dns, server, serf, rpc, stats] = await Promise.all(Array.from({ length: 6 }, () => freePort(this.host)));
    this.consul = `${this.host}:${http}`;
    this.stats = `${this.host}:${stats}`;
    this.page = `http://${this.host}:${rpc}`;
    const consul = this.run(join(tools, "consul"), [
      "agent", `-config-file=${deploy}/consul/consul.hcl`, "-node=local", `-bind=${this.host}`, `-client=${this.host}`,
      `-data-dir=${this.folder}/consul`, "-disable-host-node-id",
      `-http-port=${http}`, `-dns-port=${dns}`, `-server-port=${server}`, `-serf-lan-port=${serf}`, "-serf-wan-port=-1",
    ]);
    await consul.eventually("a leader", async () => (await get(`http://${this.consul}/v1/status/leader`)).length > 2);

    const any = "127.0.0.1:0";
    const registered = [`--consul=${this.consul}`, "--advertise-address=127.0.0.1", `--web.listen-address=${any}`];
    for (const name of ["server-1", "server-2"]) {
      this.servers.set(name, this.run(join(bin, "prometheus-api-server"), [
        ...registered, `--link.listen-address=${any}`, `--rpc.listen-address=${any}`, `--storage.path=${this.folder}/${name}`, `--instance=${name}`,
      ]));
    }
    this.run(join(bin, "metrics-forwarder"), [
      ...registered, `--link.listen-address=${any}`, `--server=consul://${this.consul}/prometheus-api-server`, `--storage.path=${this.folder}/forwarder`,
    ]);
    const receiver = this.run(join(bin, "prometheus-remote-receiver"), [`--web.listen-address=${any}`, `--forwarder=consul://${this.consul}/metrics-forwarder`]);
    this.write = `http://${await receiver.address("web")}/api/v1/write`;
    const ready = this.write.replace("/api/v1/write", "/-/ready");
    await receiver.eventually("a forwarder", async () => (await fetch(ready)).ok);

    this.haproxy = this.run(join(tools, "haproxy"), ["-W", "-db", "-f", `${deploy}/haproxy/haproxy.cfg`], {
      RPC_BIND: `${this.host}:${rpc}`, STATS_BIND: this.stats, NAMESERVER: `${this.host}:${dns}`,
    });
  }

  // serving waits until HAProxy sends calls to so many servers.
  serving(servers: number): Promise<void> {
    return this.haproxy.eventually(`${servers} servers in HAProxy`, async () => {
      const rows = await get(`http://${this.stats}/;csv`);
      return (rows.match(/^api,api\d+,.*,UP,/gm) ?? []).length === servers;
    });
  }

  // kill ends a server as kill -9 does.
  kill(server: string): Promise<void> {
    return this.servers.get(server)!.stop("SIGKILL");
  }

  // restart starts a server that was killed.
  restart(server: string): void {
    this.servers.get(server)!.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.parts.map((part) => part.stop("SIGTERM")));
    rmSync(this.folder, { recursive: true, force: true });
  }

  private run(program: string, args: string[], env?: Record<string, string>): Process {
    const part = new Process(resolve(program), args, env).start();
    this.parts.push(part);
    return part;
  }
}

async function get(url: string): Promise<string> {
  const response = await fetch(url);
  return response.ok ? response.text() : "";
}
