// Serves the page of this folder with Vite, and looks at it until it shows a reading: frontend.mjs dev|preview.
import { build, createServer, preview } from "vite";
import { chromium } from "playwright-core";

const quiet = { logLevel: "error" };
if (process.argv[2] === "preview") await build(quiet);
const server = process.argv[2] === "preview" ? await preview(quiet) : await (await createServer(quiet)).listen();
const address = server.resolvedUrls.local[0];

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(address);
  await page.waitForFunction(() => document.title === "live number", null, { timeout: 30_000 });
  console.log(`ok: a page of the ${process.argv[2]} server reads, writes and follows a protected device`);
} finally {
  await browser.close();
  await server.close();
}
process.exit(0);
