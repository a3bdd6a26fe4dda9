// A page from another port of this machine, in Chromium, using the device's API: browser.mjs
// allowed|refused DEVICE.
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [expected, device] = process.argv.slice(2);

/// Runs in the page: everything a frontend does, each with what came of it.
async function everything(device) {
  const results = {};
  const step = async (name, work) => {
    try {
      results[name] = await work();
    } catch (error) {
      results[name] = `${error.name}`;
    }
  };
  await step("read", async () => (await (await fetch(`${device}/api/v1/system`)).json()).device.id);
  await step("follow", () => new Promise((resolve, reject) => {
    const events = [];
    const source = new EventSource(`${device}/api/v1/live`);
    source.addEventListener("live", (event) => {
      events.push(typeof JSON.parse(event.data));
      if (events.length === 2) {
        source.close();
        resolve(events.join());
      }
    });
    source.onerror = () => {
      source.close();
      reject(new Error("stream"));
    };
  }));
  await step("call", async () => {
    const call = await fetch(`${device}/api/v1/actions/call?id=light_toggle`, { method: "POST" });
    const location = call.headers.get("Location");
    for (;;) {
      const [entry] = await (await fetch(device + location)).json();
      if (entry.exe_time > 0) return `${call.status} ${entry.action_id} ${entry.code}`;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  await step("put", async () => {
    const reply = await fetch(`${device}/api/v1/settings`, {
      method: "PUT",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ system: { name: "from a page" } }),
    });
    return (await reply.json()).system.name;
  });
  await step("delete", async () => (await fetch(`${device}/api/v1/actions`, { method: "DELETE" })).status);
  await step("error", async () => {
    const reply = await fetch(`${device}/nowhere`);
    return `${reply.status} ${(await reply.json()).error}`;
  });
  await step("protect", async () => {
    await fetch(`${device}/api/v1/settings`, {
      method: "PUT",
      body: JSON.stringify({ system: { protection: true, password: "secret" } }),
    });
    const reply = await fetch(`${device}/api/v1/actions`, { headers: { Authorization: "Digest x" } });
    return `${reply.status} ${reply.headers.get("WWW-Authenticate").split(" ")[0]}`;
  });
  return results;
}

const wanted = {
  allowed: {
    read: "A842E39F8124",
    follow: "object,object",
    call: "202 light_toggle 200",
    put: "from a page",
    delete: 204,
    error: "404 not_found",
    protect: "401 Digest",
  },
  refused: Object.fromEntries(
    ["read", "call", "put", "delete", "error", "protect"].map((name) => [name, "TypeError"]),
  ),
}[expected];
if (expected === "refused") wanted.follow = "Error";

const server = createServer((_, reply) => {
  reply.setHeader("Content-Type", "text/html");
  reply.end("<!doctype html><title>a frontend</title>");
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const profile = mkdtempSync(join(tmpdir(), "wwsim-browser-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
let failed = false;
try {
  const page = await browser.newPage();
  await page.goto(`http://localhost:${server.address().port}/`);
  const results = await page.evaluate(everything, device);
  for (const [name, value] of Object.entries(wanted)) {
    const right = results[name] === value;
    failed ||= !right;
    console.log(`${right ? "ok" : "FAILED"}: a page, ${expected}: ${name}: ${results[name]}`);
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
  server.close();
}
process.exit(failed ? 1 : 0);
