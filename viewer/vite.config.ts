import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/framecache/http/viewer",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // Data URLs in styles and scripts would be refused by the service's content security policy.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 150,
  },
  server: { proxy: { "/api": process.env["FRAMECACHE_SERVICE"] ?? "http://127.0.0.1:8000" } },
  test: { environment: "happy-dom", include: ["test/**/*.test.{ts,tsx}"] },
});
