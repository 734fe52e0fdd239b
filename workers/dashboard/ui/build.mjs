// Bundles the page into dist/, which is checked in and embedded in the binary. The output depends on the sources and
// on package-lock.json alone, so a fresh build must leave dist/ as it is.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
process.chdir(here);

const bundled = ["preact", "uplot"];

async function licences() {
  const parts = [];
  for (const name of bundled) {
    const { version } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
    const text = await readFile(`node_modules/${name}/LICENSE`, "utf8");
    parts.push(`${name} ${version}\n\n${text.trim()}\n`);
  }
  return parts.join(`\n${"-".repeat(72)}\n\n`);
}

const options = {
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx" },
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome123", "firefox128", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "utf8",
  legalComments: "none",
  banner: { js: "/* Taffrail, MIT. Bundled libraries and their licences: licenses.txt */" },
  logLevel: "warning",
};

async function copyStatic() {
  await copyFile("static/index.html", "dist/index.html");
  await copyFile("static/favicon.svg", "dist/favicon.svg");
  await writeFile("dist/licenses.txt", await licences());
}

if (process.argv.includes("--watch")) {
  await mkdir("dist", { recursive: true });
  await copyStatic();
  const context = await esbuild.context({ ...options, logLevel: "info" });
  await context.watch();
} else {
  await rm("dist", { recursive: true, force: true });
  await mkdir("dist");
  await copyStatic();
  await esbuild.build(options);
  let total = 0;
  for (const file of ["index.html", "app.js", "app.css", "favicon.svg"]) {
    const bytes = await readFile(`dist/${file}`);
    const packed = gzipSync(bytes, { level: 9 }).length;
    total += packed;
    console.log(`${file.padEnd(12)} ${String(bytes.length).padStart(8)} bytes ${String(packed).padStart(7)} gzip`);
  }
  console.log(`first load   ${String(total).padStart(30)} gzip`);
}
