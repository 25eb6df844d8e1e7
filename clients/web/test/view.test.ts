import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, readView, windowsOf, type View } from "../page/address";
import { commandFor } from "../page/command";
import { stepFor } from "../page/results";

const minute = 60_000;
const evaluation = { expression: "up", follow: true, onChange: false };

test("a view is read as it was written", () => {
  const views: View[] = [
    { window: 5 * minute, logarithmic: false, query: "", evaluation: undefined },
    { window: 15 * minute, logarithmic: true, query: 'up{job="a&b=c"}', evaluation: undefined },
    { window: 60 * minute, logarithmic: false, query: "", evaluation: { expression: 'sum(rate(x{a="#&+ µ"}[5m]))', step: 500, delay: 0, follow: false, onChange: true } },
    { window: 60 * minute, logarithmic: true, query: "", evaluation: { ...evaluation, step: undefined, delay: undefined } },
    { window: 60 * minute, logarithmic: false, query: "", evaluation: { ...evaluation, expression: "", step: undefined, delay: undefined } },
  ];
  for (const view of views) assert.deepEqual(readView(addressOf(view)), view);
});

test("an address that nobody wrote is a view, too", () => {
  assert.deepEqual(readView(""), { window: 0, logarithmic: false, query: "", evaluation: undefined });
  for (const wrong of ["-1", "0", "x", "NaN", "Infinity", ""]) {
    const view = readView(`#expr=up&step=${wrong}&delay=${wrong === "0" ? "-1" : wrong}&follow=2&on_change=x`);
    assert.deepEqual(view.evaluation, { ...evaluation, step: undefined, delay: undefined }, wrong);
  }
});

test("a line of any window has a round step, and no more than a few hundred of them", () => {
  for (const window of windowsOf({ evaluation })) {
    const step = stepFor(evaluation, window);
    const count = window / step;
    assert.ok(count > 100 && count <= 250, `${window} in steps of ${step}`);
    assert.equal(window % step, 0);
  }
  assert.equal(stepFor({ ...evaluation, step: 1000 }, 60 * minute), 1000);
});

test("the command goes on where the page is", () => {
  const at = { host: "h:1", tls: false, token: false };
  const view: View = { window: 15 * minute, logarithmic: false, query: "up" };
  assert.equal(commandFor(view, "c", at), "prometheus-grpc-client get --follow --address h:1 --cursor c");
  assert.equal(
    commandFor({ ...view, evaluation: { ...evaluation, expression: `x{a='b'}`, delay: 500, onChange: true } }, "", { host: "h:1", tls: true, token: true }),
    `prometheus-grpc-client query 'x{a='\\''b'\\''}' --step 5s --delay 500ms --on-change --follow --address h:1 --tls --bearer-token-file TOKEN`,
  );
});
