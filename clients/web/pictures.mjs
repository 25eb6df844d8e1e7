// Bundles pictures/, so that Node runs it as it is, and draws the pictures of the documents.
import { build } from "esbuild";

// Within node_modules, from where the imports that are not bundled are found.
const out = "node_modules/.cache/pictures/draw.mjs";
await build({
  entryPoints: ["pictures/draw.ts"],
  outfile: out,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
});
await import(`./${out}`);
