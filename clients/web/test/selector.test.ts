import assert from "node:assert/strict";
import { test } from "node:test";
import { accept, closed, targetAt, seriesText, splitSelectors } from "../page/selector";

test("selectors are separated by or", () => {
  for (const [text, want] of [
    ["", []],
    ["up", ["up"]],
    ["up or down", ["up", "down"]],
    ['up{a="x or y"} or {b="c"}', ['up{a="x or y"}', '{b="c"}']],
    ["for_all or orders", ["for_all", "orders"]],
    ['{a="b"}or{c="d"}', ['{a="b"}', '{c="d"}']],
    ["order", ["order"]],
  ] as const) {
    const parts = splitSelectors(text);
    assert.deepEqual(parts.map((p) => p.text), want, text);
    for (const p of parts) assert.equal(text.slice(p.from, p.from + p.text.length), p.text, text);
  }
});

test("what is open is closed", () => {
  assert.equal(closed("up"), "up");
  assert.equal(closed('up{job="a'), 'up{job="a"}');
  assert.equal(closed('up{job="a"'), 'up{job="a"}');
  assert.equal(closed('up{job="a"}'), 'up{job="a"}');
});

// The caret is at the bar.
test("targets", () => {
  for (const [text, want] of [
    ["|", "metric '' of ''"],
    ["htt|p_x", "metric 'htt' of ''"],
    ["up or htt|", "metric 'htt' of ''"],
    ["up{|}", "label '' of 'up'"],
    ['up{job="a",in|}', `label 'in' of 'up{job="a"}'`],
    ['{job="a", in|', `label 'in' of '{job="a"}'`],
    ['up{job="a|"}', "value 'a' of 'up' for job"],
    ['up{x="y",job=~"a|', `value 'a' of 'up{x="y"}' for job`],
    ['a{x="y"} or b{"my.label"="|', "value '' of 'b' for my.label"],
    ['up{job="a,{\\"|', `value 'a,{"' of 'up' for job`],
    ['up{job="a"|', ""],
    ["up{job|=", "label 'job' of 'up'"],
    ["up{job=|", ""],
    ['up{job="a"} |', ""],
  ] as const) {
    const caret = text.indexOf("|");
    const target = targetAt(text.replace("|", ""), caret);
    const got = target ? `${target.kind} '${target.typed}' of '${target.scope}'${target.label ? ` for ${target.label}` : ""}` : "";
    assert.equal(got, want, text);
  }
});

test("completions replace their target", () => {
  for (const [text, choice, want] of [
    ["htt|p", "http_requests", "http_requests|"],
    ["ht|", "http.requests", '{"http.requests"|'],
    ["up{j|}", "job", 'up{job="|}'],
    ['up{j|="x"}', "job", 'up{job|="x"}'],
    ['up{job="a|bc"}', "xyz", 'up{job="xyz"|}'],
    ['up{job="|', 'a"b\\', 'up{job="a\\"b\\\\"|'],
    ["up{job='|'}", "it's", "up{job='it\\'s'|}"],
  ] as const) {
    const at = text.indexOf("|");
    const typed = text.replace("|", "");
    const got = accept(typed, targetAt(typed, at)!, choice);
    assert.equal(got.text.slice(0, got.caret) + "|" + got.text.slice(got.caret), want, text);
  }
});

test("series are written as PromQL", () => {
  assert.equal(seriesText([{ name: "__name__", value: "up" }]), "up");
  assert.equal(seriesText([{ name: "__name__", value: "up" }, { name: "job", value: 'a"b' }]), 'up{job="a\\"b"}');
  assert.equal(seriesText([{ name: "__name__", value: "my.metric" }, { name: "a.b", value: "c" }]), '{"my.metric", "a.b"="c"}');
});
