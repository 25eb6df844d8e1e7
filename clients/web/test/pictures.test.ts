import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { architecture } from "../pictures/architecture";

test("the picture of the architecture is what is drawn", () => {
  assert.equal(readFileSync("../../docs/pictures/architecture.svg", "utf8"), architecture());
});
