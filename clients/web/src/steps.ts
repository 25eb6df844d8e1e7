import { Code, ConnectError } from "@connectrpc/connect";
import type { Message, Progress } from "./resume";

// Steps yields whole steps: what came after the last cursor belongs to a step that is
// not complete. It waits for the rest of it, and is dropped if the stream breaks first,
// since then the step comes again from its start.
export class Steps<M extends Message> implements Progress<M, M> {
  private begun?: M;

  constructor(
    public cursor: string,
    // join appends what goes on with a step to what there is of it.
    private readonly join: (begun: M, more: M) => void,
  ) {}

  take(message: M): M | undefined {
    const { cursor, event } = message;
    if (cursor === "" && event.case === "heartbeat" && this.begun) return undefined;
    if (cursor === "" && event.case === "away") return message;
    if (cursor === "" && event.case === undefined) {
      if (this.begun) this.join(this.begun, message);
      else this.begun = message;
      return undefined;
    }
    if (cursor === "" && this.begun) throw new ConnectError(`${event.case} within a step`, Code.Internal);
    let step = message;
    if (this.begun) {
      step = this.begun;
      this.begun = undefined;
      this.join(step, message);
    }
    if (cursor !== "") this.cursor = cursor;
    return step;
  }

  broke(farewell: string): void {
    this.begun = undefined;
    if (farewell !== "") this.cursor = farewell;
  }
}
