// digest-fetch against a protected device. It answers with plain MD5 and counts in decimal, from where
// its last nonce ended: what the device takes unless it is strict.
import DigestClient from "digest-fetch";

const device = process.argv[2];
const client = new DigestClient("", process.env.PASSWORD);

async function expect(status, path, options) {
  const reply = await client.fetch(device + path, options);
  if (reply.status !== status) {
    throw new Error(`${path}: expected ${status}, got ${reply.status}: ${await reply.text()}`);
  }
}

for (let count = 0; count < 12; count++) await expect(200, `/api/v1/actions?count=${count}`);
await expect(404, "/nowhere");
await expect(200, "/api/v1/actions", { method: "POST", body: '{"actions":[]}' });
await expect(204, "/api/v1/actions", { method: "DELETE" });

const wrong = await new DigestClient("", "wrong").fetch(device + "/api/v1/actions");
if (wrong.status !== 401) throw new Error(`a wrong password: got ${wrong.status}`);
