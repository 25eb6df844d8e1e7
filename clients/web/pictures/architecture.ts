import { escape, sheet } from "./svg";

type Box = { x: number; y: number; w: number; h: number };
type Point = [x: number, y: number];

const style = `
svg { font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
.box { fill: #fff; stroke: #b6c0cc; stroke-width: 1.5; }
.ours { fill: #fff4ee; stroke: #d9521f; }
.name { fill: #1c232b; font-weight: 600; }
.note, .label { fill: #5a6672; font-size: 12px; }
.line { stroke: #5a6672; stroke-width: 1.8; fill: none; }
.head { fill: #5a6672; }
.found { stroke: #9aa5b1; stroke-width: 1.2; stroke-dasharray: 3 4; fill: none; }
.segment { fill: #d9521f; opacity: .55; }
.newest { fill: #d9521f; }
@media (prefers-color-scheme: dark) {
  .box { fill: #1a2028; stroke: #465160; }
  .ours { fill: #2a1d17; stroke: #ec7a4a; }
  .name { fill: #f0f3f6; }
  .note, .label { fill: #a5b0bc; }
  .line { stroke: #a5b0bc; }
  .head { fill: #a5b0bc; }
  .found { stroke: #6b7784; }
  .segment, .newest { fill: #ec7a4a; }
}`;

// architecture draws the parts and what goes between them.
export function architecture(): string {
  const prometheus = { x: 8, y: 104, w: 104, h: 60 };
  const receiver = { x: 152, y: 104, w: 116, h: 60 };
  const forwarders = [{ x: 312, y: 16, w: 140, h: 92 }, { x: 312, y: 160, w: 140, h: 92 }];
  const servers = [{ x: 552, y: 16, w: 148, h: 92 }, { x: 552, y: 160, w: 148, h: 92 }];
  const haproxy = { x: 756, y: 104, w: 84, h: 60 };
  const clients = { x: 880, y: 64, w: 162, h: 140 };
  const consul = { x: 312, y: 296, w: 140, h: 60 };
  return sheet(1050, 364, "Prometheus writes to a receiver, which passes the requests of each sender to one of two forwarders. Each keeps a log and sends it to API servers, which clients read through HAProxy", style, [
    found([[210, 164], [210, 326], [312, 326]]),
    found([[382, 252], [382, 296]]),
    found([[626, 252], [626, 318], [452, 318]]),
    found([[798, 164], [798, 336], [452, 336]]),
    label(720, 354, "registration and lookup"),
    arrow(right(prometheus), left(receiver)),
    ...forwarders.map((forwarder) => arrow(right(receiver), left(forwarder))),
    ...forwarders.flatMap((forwarder) => servers.map((server) => arrow(right(forwarder), left(server)))),
    label(626, 138, "the same bytes"),
    ...servers.map((server) => arrow(right(server), left(haproxy))),
    arrow(right(haproxy), left(clients)),
    box(prometheus, "Prometheus", "remote write", "box"),
    box(receiver, "receiver", "terminates HTTP"),
    ...forwarders.flatMap((forwarder, i) => [box(forwarder, `forwarder ${i + 1}`, "decodes once"), log(forwarder)]),
    ...servers.flatMap((server, i) => [box(server, `API server ${i + 1}`, "serves streams"), log(server)]),
    box(haproxy, "HAProxy", "balances", "box"),
    list(clients, "clients", ["prometheus-grpc-client", "Go, Python, browsers", "grpcurl, buf curl, curl", "relays"]),
    label(961, 224, "gRPC · gRPC-Web · Connect"),
    box(consul, "Consul", "knows who is where", "box"),
  ]);
}

const left = (b: Box): Point => [b.x, b.y + b.h / 2];
const right = (b: Box): Point => [b.x + b.w, b.y + b.h / 2];

function frame(b: Box, kind: string): string {
  return `<rect class="${kind}" x="${b.x}" y="${b.y}" width="${b.w}" height="${b.h}" rx="8"/>`;
}

function text(x: number, y: number, kind: string, words: string, anchor = "middle"): string {
  return `<text class="${kind}" x="${x}" y="${y}" text-anchor="${anchor}">${escape(words)}</text>`;
}

const label = (x: number, y: number, words: string) => text(x, y, "label", words);

function box(b: Box, name: string, note: string, kind = "box ours"): string {
  const x = b.x + b.w / 2;
  return frame(b, kind) + text(x, b.y + 28, "name", name) + text(x, b.y + 48, "note", note);
}

function list(b: Box, name: string, notes: string[]): string {
  const lines = notes.map((note, i) => text(b.x + b.w / 2, b.y + 54 + 20 * i, "note", note));
  return frame(b, "box") + text(b.x + b.w / 2, b.y + 28, "name", name) + lines.join("");
}

// log is the row of segments that a part has on its disk.
function log(b: Box): string {
  const segments = [0, 1, 2, 3].map((i) => `<rect class="${i < 3 ? "segment" : "newest"}" x="${b.x + b.w / 2 - 57 + i * 32}" y="${b.y + 66}" width="${i < 3 ? 28 : 18}" height="14" rx="2"/>`);
  return segments.join("");
}

function arrow([x, y]: Point, [toX, toY]: Point): string {
  const middle = (x + toX) / 2, end = toX - 7;
  const line = `<path class="line" d="M${x} ${y}C${middle} ${y} ${middle} ${toY} ${end} ${toY}"/>`;
  return line + `<path class="head" d="M${toX - 1} ${toY}l-9 -5v10z"/>`;
}

const found = (points: Point[]) => `<path class="found" d="M${points.map((point) => point.join(" ")).join("L")}"/>`;
