// Bundles pictures/, so that Node can run it, and draws the pictures for the documents.
import { build } from "esbuild";

// Within node_modules, where Node finds the imports that are not bundled.
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
