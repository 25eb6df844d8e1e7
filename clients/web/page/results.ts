import type { ConnectError, Transport } from "@connectrpc/connect";
import { expressionPlace, query, type FollowOptions, type Place } from "../src/index";
import type { Part, Source } from "./feed";

const heartbeatInterval = 5000;

// A line has at most about so many steps, unless the user wants others.
const steps = 250;
const second = 1000;
const roundSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((s) => s * second);

// Evaluation is an expression, and how it is evaluated. Times are in milliseconds.
export interface Evaluation {
  expression: string;
  // step between two results. Unset: as long as suits the window.
  step?: number;
  // delay is how long samples may take to arrive. Unset: as the server has it.
  delay?: number;
  // follow goes on with each step as it becomes due.
  follow: boolean;
  // onChange has the server leave out what has not changed.
  onChange: boolean;
}

// stepFor returns the time between two steps of a window.
export function stepFor(evaluation: Evaluation, window: number): number {
  return evaluation.step ?? roundSteps.find((step) => step >= window / steps) ?? roundSteps.at(-1)!;
}

// Results are those of an expression at each step.
export class Results implements Source {
  constructor(
    private readonly evaluation: Evaluation,
    private readonly step: number,
  ) {}

  read(transport: Transport, since: number, options: FollowOptions): AsyncIterable<Part> {
    const { expression, delay, follow, onChange } = this.evaluation;
    return query(transport, { expression, since, step: this.step, delay, follow, onChange, heartbeatInterval: follow ? heartbeatInterval : undefined }, options);
  }

  place(err: ConnectError): Place | undefined {
    const range = expressionPlace(err, this.evaluation.expression);
    return range && { index: 0, ...range };
  }
}
