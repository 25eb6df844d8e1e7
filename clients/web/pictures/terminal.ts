import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { escape, sheet } from "./svg";

const size = 13; // of the font, whose characters are 0.6 as wide
const wide = size * 0.602;
const high = 18;
const columns = 104;

// Terminal keeps what commands print on one, and draws it.
export class Terminal {
  private lines: string[] = [];

  // env is for the program, which commands call by its name alone.
  constructor(private readonly program: string, private readonly env: Record<string, string>) {}

  // run runs a command until it ends, or has printed so many lines.
  async run(command: string, lines = Infinity): Promise<void> {
    if (this.lines.length > 0) this.lines.push("");
    this.lines.push(`\x1b[2m$\x1b[0m ${command}`);
    const shell = `stty cols ${columns} rows 40; exec ${resolve(this.program)} ${command.replace(/^\S+ /, "")}`;
    const child = spawn("script", ["--quiet", "--return", "--command", shell, "/dev/null"], {
      env: { ...process.env, ...this.env, TERM: "xterm" }, stdio: ["ignore", "pipe", "ignore"],
    });
    let text = "";
    for await (const part of child.stdout) {
      text += part;
      if (text.split("\n").length > lines) break;
    }
    child.kill();
    if (text === "") throw new Error(`${command} prints nothing`);
    this.lines.push(...text.trimEnd().split(/\r?\n/).slice(0, lines));
  }

  svg(): string {
    const width = Math.ceil(columns * wide) + 32, height = this.lines.length * high + 58;
    const rows = this.lines.map((line, i) => `<text x="16" y="${54 + i * high}">${spans(line)}</text>`);
    return sheet(width, height, "What prometheus-grpc-client prints", `
svg { font: ${size}px "DejaVu Sans Mono", Menlo, Consolas, monospace; }
text { fill: #d7dde4; white-space: pre; }
.b { font-weight: bold; fill: #fff; }
.f { fill: #8b97a5; }`, [
      `<rect width="${width}" height="${height}" rx="9" fill="#15191f"/>`,
      ...["#ff5f57", "#febc2e", "#28c840"].map((fill, i) => `<circle cx="${20 + 20 * i}" cy="20" r="6" fill="${fill}"/>`),
      ...rows,
    ]);
  }
}

// spans has the bold and faint parts of a line.
function spans(line: string): string {
  let drawn = "", style = "";
  for (const part of line.split(/(\x1b\[\d+m)/)) {
    if (part.startsWith("\x1b")) style = { "\x1b[1m": "b", "\x1b[2m": "f" }[part] ?? "";
    else if (part) drawn += style ? `<tspan class="${style}">${escape(part)}</tspan>` : escape(part);
  }
  return drawn;
}
