// Builds the page into the folder that the server embeds. The same sources
// give the same bytes: names carry a hash of the content, and nothing depends
// on the machine. With --check it writes nothing, and fails if what is there
// is not what it would write.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const out = join(root, "../../internal/page/built");

const result = await build({
  absWorkingDir: root,
  entryPoints: ["page/main.ts", "page/main.css"],
  outdir: "assets",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  // The editor is loaded when it is needed.
  splitting: true,
  minify: true,
  format: "esm",
  // What knows light-dark(), which the style sheet is built on.
  target: ["chrome123", "firefox120", "safari17.5"],
  charset: "utf8",
  legalComments: "none", // they are in licenses.txt
  metafile: true,
  write: false,
});

const built = new Map(); // content by path
const names = new Map(); // paths in URLs by what index.html says
for (const { path, contents } of result.outputFiles) built.set(relative(root, path).replaceAll("\\", "/"), contents);
for (const [path, { entryPoint }] of Object.entries(result.metafile.outputs)) {
  if (entryPoint) names.set(basename(entryPoint).replace(/ts$/, "js"), `/${path}`);
}
add("icon.svg", readFileSync(join(root, "page/icon.svg")));
add("licenses.txt", licenses(Object.keys(result.metafile.inputs)));
const html = readFileSync(join(root, "page/index.html"), "utf8").replace(/{{(.*?)}}/g, (_all, name) => {
  if (!names.has(name)) throw new Error(`index.html names ${name}, which is not built`);
  return names.get(name);
});
built.set("index.html", Buffer.from(html));

if (process.argv.includes("--check")) {
  const there = existsSync(out) ? readdirSync(out, { recursive: true, withFileTypes: true }) : [];
  const paths = there.filter((f) => f.isFile()).map((f) => join(f.parentPath ?? f.path, f.name));
  const same = (path, content) => existsSync(join(out, path)) && readFileSync(join(out, path)).equals(content);
  if (paths.length !== built.size || [...built].some(([path, content]) => !same(path, content))) {
    console.error("internal/page is out of date: run make web and commit it");
    process.exit(1);
  }
} else {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, "assets"), { recursive: true });
  for (const [path, content] of built) writeFileSync(join(out, path), content);
}

function add(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 12);
  const path = `assets/${name.replace(/\.(\w+)$/, `-${hash}.$1`)}`;
  built.set(path, Buffer.from(content));
  names.set(name, `/${path}`);
}

// licenses of the packages whose code is in the bundle.
function licenses(inputs) {
  const packages = new Set(inputs.map((i) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(i)?.[1]).filter(Boolean));
  return [...packages].sort().map((name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((f) => join(folder, f)).find(existsSync);
    const text = file ? readFileSync(file, "utf8").trim() : `SPDX-License-Identifier: ${license}`;
    return `${name} ${version} (${license})\n\n${text}\n`;
  }).join(`\n${"-".repeat(72)}\n\n`);
}
