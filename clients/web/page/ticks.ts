import { scaleOf, short, type Scale, type Unit } from "./format";

// Ticks of an axis are round in the unit in which they are shown.
export interface Ticks {
  values: number[];
  // text writes one of them. All have the same unit and no more digits than tell
  // them apart.
  text: (value: number) => string;
}

// Steps in minutes and in hours, from where a decimal one is no round time.
const minutes = [1, 2, 5, 10, 15, 30];
const hours = [1, 2, 3, 6, 12];

// linearTicks are at most about so many between two values.
export function linearTicks(min: number, max: number, unit: Unit, most: number): Ticks {
  const size = Math.max(Math.abs(min), Math.abs(max));
  const scale = scaleOf(size, unit);
  const factor = scale?.factor ?? 1;
  const step = roundStep((max - min) / factor / Math.max(1, most), scale?.suffix ?? "");
  const values: number[] = [];
  const first = Math.ceil(min / factor / step - 1e-9);
  for (let i = first; i * step * factor <= max + step * factor * 1e-9 && values.length < 100; i++) values.push(i * step * factor);
  return { values, text: writer(unit, scale, step, size) };
}

// writer of values of one axis, with as many digits as a step needs.
function writer(unit: Unit, scale: Scale | undefined, step: number, size: number): (value: number) => string {
  const last = Math.floor(Math.log10(step) + 1e-9);
  const within = (n: number) => Math.min(12, Math.max(0, n));
  if (scale) return (v) => String(Number((v / scale.factor).toFixed(within(-last)))) + scale.suffix;
  if (unit === "time") return (v) => short(v, unit);
  return (v) => (v === 0 ? "0" : v.toExponential(within(Math.floor(Math.log10(size)) - last)));
}

// roundStep is the smallest round step that is no smaller than the least.
function roundStep(least: number, suffix: string): number {
  if (!(least > 0) || !Number.isFinite(least)) return 1;
  const times = { " min": minutes, " h": hours }[suffix];
  const time = least > 0.5 ? times?.find((step) => step >= least) : undefined;
  if (time) return time;
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5].find((m) => m * power >= least * (1 - 1e-9)) ?? 10) * power;
}

// logTicks are at most about so many between two positive values, as far apart
// by their ratio as they can be.
export function logTicks(min: number, max: number, unit: Unit, most: number): number[] {
  const inside = (list: number[]) => list.filter((v) => v >= min * (1 - 1e-9) && v <= max * (1 + 1e-9));
  const powers = (base: number, factors = [1]) => {
    const list: number[] = [];
    const last = Math.floor(Math.log(max) / Math.log(base) + 1e-9);
    for (let e = Math.floor(Math.log(min) / Math.log(base) - 1e-9); e <= last; e++) list.push(...factors.map((f) => f * base ** e));
    return list;
  };
  let [fine, coarse] = [powers(10, [1, 2, 5]), powers(10)];
  if (unit === "bytes") fine = coarse = powers(2);
  if (unit === "seconds") {
    const clock = [...minutes.map((m) => 60 * m), ...hours.map((h) => 3600 * h)];
    const days = (list: number[]) => list.map((v) => 86400 * v);
    const decimal = (v: number) => v < 60;
    const late = max < 86400 ? [] : days([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000]);
    fine = [...fine.filter(decimal), ...clock, ...late];
    coarse = [...coarse.filter(decimal), 60, 600, 3600, 36_000, ...days([1, 10, 100, 1000, 10_000, 100_000])];
  }
  const chosen = inside(fine).length <= most ? inside(fine) : inside(coarse);
  const stride = Math.ceil(chosen.length / most);
  return chosen.filter((_v, i) => i % stride === 0);
}
