import type { Series } from "./store";

export type Mode = "value" | "rate";

// points returns those of a series from a time on, and the one before, with a null
// where samples are missing: a line across a gap would show values that nobody saw. On a
// logarithmic scale only positive values have a place.
export function points(s: Pick<Series, "times" | "values">, mode: Mode, from: number, logarithmic = false): [number[], (number | null)[]] {
  const values = mode === "rate" ? perSecond(s.times, s.values) : s.values;
  const start = Math.max(0, s.times.findIndex((t) => t >= from) - 1);
  const usual = interval(s.times);
  const times: number[] = [];
  const kept: (number | null)[] = [];
  for (let i = start; i < s.times.length; i++) {
    const before = times.at(-1);
    if (before !== undefined && s.times[i]! - before > 3.5 * usual) {
      times.push(before + usual);
      kept.push(null);
    }
    const value = values[i]!;
    times.push(s.times[i]!);
    kept.push(Number.isFinite(value) && (!logarithmic || value > 0) ? value : null);
  }
  return [times, kept];
}

// wholeGaps has a gap last until the next value: beside other lines, whose points are at
// other times, it would end at the first of those.
export function wholeGaps(column: (number | null | undefined)[]): (number | null | undefined)[] {
  let gap = false;
  return column.map((value) => {
    if (value !== undefined) gap = value === null;
    return gap ? null : value;
  });
}

// interval returns the usual time between two samples.
function interval(times: number[]): number {
  const steps = times.slice(-200).map((t, i, all) => (i === 0 ? Infinity : t - all[i - 1]!));
  steps.sort((a, b) => a - b);
  return steps[Math.floor((steps.length - 1) / 2)] ?? Infinity;
}

// perSecond turns a counter's values into its rate, each since the sample before.
// After a reset the counter started at zero.
export function perSecond(times: number[], values: number[]): number[] {
  return values.map((value, i) => {
    if (i === 0) return NaN;
    const before = values[i - 1]!;
    const grown = value >= before ? value - before : value;
    return Number.isNaN(value) || Number.isNaN(before) ? NaN : (grown * 1000) / (times[i]! - times[i - 1]!);
  });
}
