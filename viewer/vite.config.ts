import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const LICENSES = "assets/licenses.txt";

export default defineConfig({
  base: "./",
  plugins: [wholeLicenses()],
  build: {
    outDir: "../src/framecache/server/viewer",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // Data URLs in styles and scripts would be refused by the service's content security policy.
    assetsInlineLimit: 0,
    license: { fileName: LICENSES },
    chunkSizeWarningLimit: 150,
  },
  server: { proxy: { "/api": process.env["FRAMECACHE_SERVICE"] ?? "http://127.0.0.1:8000" } },
  // A property takes seconds on a machine that does much else.
  test: {
    environment: "happy-dom",
    include: ["test/**/*.test.{ts,tsx}"],
    testTimeout: 60_000,
  },
});

/** Vite tells the text of a file LICENSE; this adds that of packages which name theirs otherwise. */
function wholeLicenses(): Plugin {
  return {
    name: "whole-licenses",
    apply: "build",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const notices = bundle[LICENSES];
        if (notices?.type !== "asset") throw new Error(`Vite wrote no ${LICENSES}`);
        const sections = notices.source.toString().split(/^(?=## \S+ - )/m);
        notices.source = sections.map(withText).join("");
      },
    },
  };
}

function withText(section: string): string {
  const name = /^## (\S+) - .*\s*$/.exec(section)?.[1];
  return name === undefined ? section : `${section.trim()}\n\n${licenseOf(name)}\n\n`;
}

function licenseOf(name: string): string {
  const folder = `node_modules/${name}`;
  const file = readdirSync(folder).find((each) => /licen[cs]e/i.test(each));
  if (file === undefined) throw new Error(`${folder} has no license that could be told`);
  return readFileSync(`${folder}/${file}`, "utf-8").trim();
}
