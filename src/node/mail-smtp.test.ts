import { afterEach, expect, test } from "vitest";
import { loadNodeConfig } from "../config/index.js";
import { FakeAuthenticator, FakeSenders, FakeTls } from "../smtp/testing-auth.js";
import { FakeReceiver, RawClient, silentLog } from "../smtp/testing.js";
import { createMailSmtpServers, type MailSmtpServers } from "./mail-smtp.js";

let servers: MailSmtpServers | undefined;

afterEach(() => servers?.close());

const users = { authenticator: new FakeAuthenticator(), senders: new FakeSenders() };
const tls = new FakeTls();

async function listening(
  parts: Partial<Parameters<typeof createMailSmtpServers>[0]>,
  flags: Readonly<Record<string, readonly string[]>> = {},
) {
  const any = ["127.0.0.1:0"];
  const config = await loadNodeConfig({
    ...{ addr: ["127.0.0.1:5000"], smtp: any, submission: any, submissions: any, ...flags },
  });
  const receiver = FakeReceiver.create();
  servers = createMailSmtpServers({ config, nodeText: "7", receiver, log: silentLog, ...parts });
  return servers.listen();
}

const portOf = (endpoint = "") => Number(endpoint.split(":")[1]);

test("mail for everybody, handing in, and handing in with TLS from the first octet", async () => {
  const at = await listening({ users, tls });
  const smtp = await RawClient.greeted(portOf(at.smtp));
  const submission = await RawClient.greeted(portOf(at.submission));
  const submissions = await RawClient.greetedSecurely(portOf(at.submissions));
  const offers = [];
  for (const client of [smtp, submission, submissions]) {
    const keywords = await client.ask("EHLO client.test");
    offers.push([keywords.includes("AUTH"), keywords.includes("STARTTLS")]);
    client.socket.destroy();
  }
  expect(offers).toEqual([
    [false, true],
    [true, true],
    [true, false],
  ]);
});

test.each([
  ["nobody to ask who a user is", { tls }, {}, ["smtp"]],
  ["no certificate", { users }, {}, ["smtp", "submission"]],
  ["one off", { users, tls }, { submission: ["off"] }, ["smtp", "submissions"]],
  ["the other off", { users, tls }, { submissions: ["off"] }, ["smtp", "submission"]],
])("%s", async (_what, parts, flags, open) => {
  expect(Object.keys(await listening(parts, flags))).toEqual(open);
  expect(Object.keys(servers?.endpoints ?? {})).toEqual(open);
});

test("a port that is taken is named with its option", async () => {
  const at = await listening({ users });
  const first = servers;
  const taken = [at.submission ?? ""];
  await expect(listening({ users }, { submission: taken })).rejects.toThrow("--submission");
  await first?.close();
});
