import type { ConnectError, Transport } from "@connectrpc/connect";
import { follow, invalidPlace, type FollowOptions, type Place } from "../src/index";
import type { Part, Source } from "./feed";

const heartbeatInterval = 5000;

// Samples are those of the series that any of some selectors matches.
export class Samples implements Source {
  constructor(private readonly selectors: string[]) {}

  async *read(transport: Transport, since: number, options: FollowOptions): AsyncGenerator<Part> {
    const selection = { selectors: this.selectors, since, follow: true, heartbeatInterval };
    for await (const { response } of follow(transport, selection, options)) yield response;
  }

  place(err: ConnectError): Place | undefined {
    return invalidPlace(err, this.selectors);
  }
}
