// Unit of a metric, as its name ends by convention.
export type Unit = "" | "seconds" | "bytes" | "ratio";

export function unitOf(name: string): Unit {
  const base = name.replace(/_(total|sum|bucket|count|created)$/, "");
  if (/_count$/.test(name)) return "";
  if (/_seconds$/.test(base)) return "seconds";
  if (/_bytes$/.test(base)) return "bytes";
  if (/_ratio$/.test(base)) return "ratio";
  return "";
}

const prefixes = ["", "k", "M", "G", "T", "P", "E"];
const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

// short writes a value in a few characters, for axes and legends.
export function short(value: number, unit: Unit = ""): string {
  if (!Number.isFinite(value)) return exact(value);
  const size = Math.abs(value);
  if (unit === "bytes") return scaled(value, 1024, binary, " ");
  if (unit === "ratio") return `${digits(value * 100)} %`;
  if (unit === "seconds" && size > 0 && size < 1e9) {
    if (size < 1e-6) return `${digits(value * 1e9)} ns`;
    if (size < 1e-3) return `${digits(value * 1e6)} µs`;
    if (size < 1) return `${digits(value * 1e3)} ms`;
    if (size < 180) return `${digits(value)} s`;
    if (size < 10800) return `${digits(value / 60)} min`;
    if (size < 172800) return `${digits(value / 3600)} h`;
    return `${digits(value / 86400)} d`;
  }
  if (size !== 0 && (size < 1e-4 || size >= 1e21)) return value.toExponential(2);
  return scaled(value, 1000, prefixes, "");
}

function scaled(value: number, step: number, names: string[], space: string): string {
  let i = 0;
  while (Math.abs(value) >= step && i < names.length - 1) {
    value /= step;
    i++;
  }
  return digits(value) + (names[i] ? space + names[i] : "");
}

// digits keeps four of them and no trailing zeros.
function digits(value: number): string {
  return String(Number(value.toPrecision(4)));
}

// exact writes a value as Prometheus does.
export function exact(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}

// grouped writes an integer with thousands apart.
export function grouped(value: number | bigint): string {
  return value.toLocaleString("en").replaceAll(",", "\u202f");
}

// age writes how long ago something was.
export function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

// clock writes a local time of day.
export function clock(ms: number, withSeconds = true): string {
  const d = new Date(ms);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${two(d.getHours())}:${two(d.getMinutes())}` + (withSeconds ? `:${two(d.getSeconds())}` : "");
}
