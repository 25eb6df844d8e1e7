// Unit of a value. A time is an instant, in seconds since 1970.
export type Unit = "" | "seconds" | "bytes" | "ratio" | "time";

// Scale is how values of one magnitude are written: divided, and with a suffix.
export interface Scale {
  factor: number;
  suffix: string;
}

const minute = 60;
const hour = 3600;
const day = 86400;

// In each list scales ascend, with the size from which each is used.
const scales: Record<Exclude<Unit, "time">, [from: number, scale: Scale][]> = {
  "": ["", "k", "M", "G", "T", "P", "E"].map((suffix, i) => [1000 ** i, { factor: 1000 ** i, suffix }]),
  bytes: ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].map((name, i) => [1024 ** i, { factor: 1024 ** i, suffix: ` ${name}` }]),
  ratio: [[0, { factor: 0.01, suffix: " %" }]],
  seconds: [
    [0, { factor: 1e-9, suffix: " ns" }],
    [1e-6, { factor: 1e-6, suffix: " µs" }],
    [1e-3, { factor: 1e-3, suffix: " ms" }],
    [1, { factor: 1, suffix: " s" }],
    [3 * minute, { factor: minute, suffix: " min" }],
    [3 * hour, { factor: hour, suffix: " h" }],
    [2 * day, { factor: day, suffix: " d" }],
  ],
};

// scaleOf returns the scale for a size, none if only an exponent keeps it short.
export function scaleOf(size: number, unit: Unit): Scale | undefined {
  if (unit === "time") return undefined;
  if (size === 0) return { factor: 1, suffix: { "": "", bytes: " B", ratio: " %", seconds: " s" }[unit] };
  if (size >= 1e21 || (size < 1e-4 && unit !== "seconds") || size < 1e-13) return undefined;
  const list = scales[unit];
  return (list.findLast(([from]) => size >= from) ?? list[0]!)[1];
}

// short writes a value in a few characters, for legends and tables.
export function short(value: number, unit: Unit = ""): string {
  if (!Number.isFinite(value)) return exact(value);
  if (unit === "time") return instant(value);
  const scale = scaleOf(Math.abs(value), unit);
  return scale ? digits(value / scale.factor) + scale.suffix : value.toExponential(2);
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

// period writes a duration in the largest unit of which it is a whole number.
export function period(ms: number): string {
  const s = ms / 1000;
  if (s > 0 && s % 3600 === 0) return `${s / 3600} h`;
  return s > 0 && s % 60 === 0 ? `${s / 60} min` : `${s} s`;
}

// clock writes a local time of day.
export function clock(ms: number, withSeconds = true): string {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}` + (withSeconds ? `:${two(d.getSeconds())}` : "");
}

// instant writes a local date and time, of seconds since 1970.
function instant(seconds: number): string {
  const d = new Date(seconds * 1000);
  if (Number.isNaN(d.getTime())) return exact(seconds);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d.getTime())}`;
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

// visible keeps a text on one line and in its order: characters that would break the
// line, reorder the text around them, or not be seen are escaped.
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => {
    const known = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[char];
    return known ?? `\\u{${char.codePointAt(0)!.toString(16)}}`;
  });
}
