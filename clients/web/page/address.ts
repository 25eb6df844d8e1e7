import type { Evaluation } from "./results";

// View is what the page shows. It is in the page's address, so that it can be kept and
// shared.
export interface View {
  // window in milliseconds.
  window: number;
  // logarithmic is the chart's scale.
  logarithmic: boolean;
  // query has the selectors of the series.
  query: string;
  // evaluation is shown in place of series, if there is one.
  evaluation?: Evaluation;
}

const minute = 60_000;
const hour = 60 * minute;
const seriesWindows = [5 * minute, 15 * minute, hour, 3 * hour];
const resultWindows = [...seriesWindows, 12 * hour, 24 * hour];

// windowsOf returns those that can be chosen, the usual one second.
export function windowsOf({ evaluation }: Pick<View, "evaluation">): number[] {
  return evaluation ? resultWindows : seriesWindows;
}

export function readView(hash: string): View {
  const params = new URLSearchParams(hash.slice(1));
  const expression = params.get("expr");
  const evaluation = expression === null ? undefined : {
    expression,
    step: duration(params.get("step"), 0.1),
    delay: duration(params.get("delay"), 0),
    follow: params.get("follow") !== "0",
    onChange: params.get("on_change") === "1",
  };
  return {
    window: Number(params.get("window")) * 1000,
    logarithmic: params.get("scale") === "log",
    query: params.get("query") ?? "",
    evaluation,
  };
}

// addressOf is the hash of a view. What is as usual is left out.
export function addressOf({ window, logarithmic, query, evaluation }: View): string {
  const params = new URLSearchParams({ window: String(window / 1000) });
  if (evaluation) {
    params.set("expr", evaluation.expression);
    if (evaluation.step !== undefined) params.set("step", String(evaluation.step / 1000));
    if (evaluation.delay !== undefined) params.set("delay", String(evaluation.delay / 1000));
    if (!evaluation.follow) params.set("follow", "0");
    if (evaluation.onChange) params.set("on_change", "1");
  } else if (query !== "") {
    params.set("query", query);
  }
  if (logarithmic) params.set("scale", "log");
  return `#${params}`;
}

// duration reads seconds, of at least so many.
function duration(text: string | null, least: number): number | undefined {
  const seconds = text === null || text === "" ? NaN : Number(text);
  return seconds >= least && Number.isFinite(seconds) ? seconds * 1000 : undefined;
}
