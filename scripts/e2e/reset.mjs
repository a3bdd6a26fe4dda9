// A client with a connection pool that resets the house between its requests, as a test suite does. It asks
// the device, the control plane and a target over connections that stay open.
import http from "node:http";

const [device, control, target] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });
const sockets = new Set();

function send(method, url) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, agent }, (reply) => {
      reply.resume();
      reply.on("end", () => resolve(reply.statusCode));
      reply.on("error", reject);
    });
    request.on("socket", (socket) => sockets.add(socket));
    request.on("error", reject);
    request.end();
  });
}

const tries = 200;
const failures = {};
for (let round = 0; round < tries; round++) {
  for (const [method, url] of [
    ["POST", `${control}/control/v1/reset`],
    ["GET", `${device}/api/v1/system`],
    ["GET", `${target}/`],
    ["GET", `${control}/control/v1/state`],
  ]) {
    try {
      const status = await send(method, url);
      if (status !== 200) throw new Error(`status ${status}`);
    } catch (error) {
      const key = `${url}: ${error.code ?? error.message}`;
      failures[key] = (failures[key] ?? 0) + 1;
    }
  }
  const fetched = await fetch(`${device}/api/v1/report`).catch((error) => error);
  if (fetched.status !== 200) {
    const key = `fetch: ${fetched.cause?.code ?? fetched.message ?? fetched.status}`;
    failures[key] = (failures[key] ?? 0) + 1;
  } else {
    await fetched.text();
  }
}
agent.destroy();
if (Object.keys(failures).length > 0) {
  console.error(`of ${tries} tries each:`, failures);
  process.exit(1);
}
if (sockets.size !== 3) {
  console.error(`${sockets.size} connections, expected one to each of three listeners`);
  process.exit(1);
}
process.exit(0);
