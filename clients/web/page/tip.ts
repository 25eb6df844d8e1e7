import type uPlot from "uplot";
import { h } from "./dom";
import { clock, visible } from "./format";
import { colorOf, dashOf } from "./palette";

// With more lines than this only the nearest has its value shown.
const mostRows = 8;

export interface Row {
  // slot of the line in the palette.
  slot: number;
  text: string;
  value: string;
  // y is where the line is, the nearer to the cursor the more it is of interest.
  y: number;
}

// Tip shows at the cursor which values there are. The legend has them for who does not
// see it.
export class Tip {
  private readonly box = h("div", { class: "tip", "aria-hidden": "true", hidden: true });

  constructor(private readonly host: HTMLElement) {
    host.append(this.box);
  }

  hide(): void {
    this.box.hidden = true;
  }

  // show the rows of a time, beside the cursor.
  show(u: uPlot, time: number, rows: Row[]): void {
    const { left = 0, top = 0 } = u.cursor;
    const near = [...rows].sort((a, b) => Math.abs(a.y - top) - Math.abs(b.y - top)).slice(0, rows.length > mostRows ? 1 : mostRows);
    near.sort((a, b) => a.y - b.y);
    this.box.replaceChildren(
      h("b", {}, clock(time)),
      ...near.map((r) => h("div", { "data-color": colorOf(r.slot), "data-dash": dashOf(r.slot) }, h("i"), h("span", {}, visible(r.text)), h("output", {}, r.value))),
    );
    this.box.hidden = near.length === 0;
    const at = u.over.offsetLeft + left;
    const { clientWidth } = this.host;
    // On the side with more room, and never beyond the edge.
    const x = left > u.over.clientWidth / 2 ? at - this.box.offsetWidth - 14 : at + 14;
    this.box.style.left = `${Math.max(0, Math.min(clientWidth - this.box.offsetWidth, x))}px`;
    this.box.style.top = `${Math.max(0, Math.min(this.host.clientHeight - this.box.offsetHeight, u.over.offsetTop + top - this.box.offsetHeight / 2))}px`;
  }
}
