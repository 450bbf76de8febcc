import { expect, test } from "vitest";
import { type FoundMember, withFoundServers } from "./discovery.js";

const member = (host: string, ring = "a", domain = "ring.test"): FoundMember => ({
  ...{ ring: ring.repeat(32), domain, bits: 16, replicas: 2, addr: `${host}:5000` },
  ...{ smtp: `${host}:25`, pop3: `${host}:110` },
});
const servers = ["auto"];
const password = "x";

test("who is named comes first, then who is found, by the domain of the user", async () => {
  const asked: unknown[] = [];
  const look = async (options: object = {}) => {
    asked.push(options);
    return [member("10.0.0.1"), member("127.0.0.1")];
  };
  const account = { user: "alice@Ring.test", password };
  const found = await withFoundServers({ servers: ["a:1", "auto"], account }, look);
  expect(found.servers).toEqual([
    "a:1",
    { smtp: "10.0.0.1:25", pop3: "10.0.0.1:110" },
    { smtp: "127.0.0.1:25", pop3: "127.0.0.1:110" },
  ]);
  expect(asked).toEqual([{ domain: "ring.test" }]);
  const named = { servers: ["a:1"] };
  expect(await withFoundServers(named, look)).toBe(named);
  expect(asked).toHaveLength(1);
});

test("who could have a certificate without being of the ring is not believed, unless a CA is pinned", async () => {
  const look = async () => [member("evil.example"), member("8.8.8.8"), member("192.168.0.5")];
  expect((await withFoundServers({ servers }, look)).servers).toHaveLength(1);
  expect((await withFoundServers({ servers, tls: { ca: "pem" } }, look)).servers).toHaveLength(3);
});

test("nobody, and two rings, are errors that say what to do", async () => {
  await expect(withFoundServers({ servers }, async () => [])).rejects.toMatchObject({
    ...{ code: "unreachable", retryable: true },
  });
  const two = async () => [member("10.0.0.1", "a"), member("10.0.0.2", "b", "other.test")];
  await expect(withFoundServers({ servers }, two)).rejects.toThrow(
    "2 rings answer on the LAN: 10.0.0.1:5000 (ring.test), 10.0.0.2:5000 (other.test); name one",
  );
});
