// Bundles the TypeScript tests of a folder, so that Node runs them as they
// are, and hands them to Node's test runner.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const folder = process.argv[2];
// Within node_modules, from where the imports that are not bundled are found.
const out = `node_modules/.cache/${folder}`;
rmSync(out, { recursive: true, force: true });
const tests = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));
await build({
  entryPoints: tests.map((name) => `${folder}/${name}`),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
});
const files = tests.map((name) => `${out}/${name.replace(/ts$/, "mjs")}`);
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", ...files], { stdio: "inherit" });
process.exit(status ?? 1);
