// Bundles the tests, so that they are resolved as the page is, and runs them.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const folder = await mkdtemp(join(tmpdir(), "taffrail-ui-"));
try {
  const outfile = join(folder, "pure.test.mjs");
  const entry = fileURLToPath(new URL("pure.test.ts", import.meta.url));
  await esbuild.build({ entryPoints: [entry], outfile, bundle: true, platform: "node", format: "esm", logLevel: "warning" });
  const { status } = spawnSync(process.execPath, ["--test", outfile], { stdio: "inherit", env: { ...process.env, LC_ALL: "en_US.UTF-8", TZ: "UTC" } });
  process.exitCode = status ?? 1;
} finally {
  await rm(folder, { recursive: true });
}
