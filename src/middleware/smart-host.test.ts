import { afterEach, describe, expect, test } from "vitest";
import { makeCertificate } from "../../tests/support/certificate.js";
import { FakeSmartHost, type FakeSmartHostOptions } from "../../tests/support/smart-host.js";
import { quietLog } from "../replication/testing.js";
import { createSmartHost, type SmartHost, type SmartHostOptions } from "./smart-host.js";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function pair(
  server: FakeSmartHostOptions = {},
  client: Partial<SmartHostOptions> = {},
): Promise<{ fake: FakeSmartHost; host: SmartHost }> {
  const fake = await new FakeSmartHost(server).start();
  const host = createSmartHost({
    ...{ host: "127.0.0.1", port: fake.port, hostName: "ring.test", tls: "opportunistic" },
    ...{ bounces: "ring+bounces@ring.test", log: quietLog },
    ...client,
  });
  ends.push(
    () => host.close(),
    () => fake.stop(),
  );
  return { fake, host };
}

const certificate = makeCertificate();
const from = "";
const to = "ann@else.test";
const octets = Buffer.from(
  "Message-ID: <1@x>\r\nSubject: s\r\n\r\n.dots\r\n..\r\nbl\xe5\r\n",
  "latin1",
);

test("the mail arrives octet for octet, from the null sender", async () => {
  const { fake, host } = await pair();
  expect(await host.send({ from, to, octets })).toMatchObject({ kind: "taken" });
  expect(fake.taken).toMatchObject([{ from: "", to, octets }]);
});

describe("a reply of the smart host", () => {
  test.each([
    ["450 4.2.0 busy", "later"],
    ["452 4.3.1 no space", "later"],
    ["550 5.1.1 no such user", "never"],
    ["552 5.3.4 too large", "never"],
    ["421 4.3.2 shutting down", "away"],
    ["530 5.7.0 authentication required", "away"],
  ] as const)("%s to RCPT: %s", async (reply, kind) => {
    const { fake, host } = await pair();
    fake.refuseRecipient = () => reply;
    expect(await host.send({ from, to, octets })).toMatchObject({
      kind,
      why: expect.stringContaining(reply.slice(4)),
    });
    expect(fake.tries).toEqual([]);
  });

  test.each([
    ["451 4.3.0 later", "later"],
    ["554 5.6.0 not this", "never"],
    ["421 4.3.2 shutting down", "away"],
    ["530 5.7.0 authentication required", "away"],
  ] as const)("%s after the dot: %s", async (reply, kind) => {
    const { fake, host } = await pair();
    fake.treat = () => reply;
    expect(await host.send({ from, to, octets })).toMatchObject({ kind });
  });

  test("5yz to the null sender: another is used, then and later", async () => {
    const { fake, host } = await pair();
    fake.refuseSender = (from) => (from === "" ? "550 5.7.1 who are you" : undefined);
    expect(await host.send({ from, to, octets })).toMatchObject({ kind: "taken" });
    expect(await host.send({ from, to, octets })).toMatchObject({ kind: "taken" });
    expect(fake.taken.map(({ from }) => from)).toEqual(Array(2).fill("ring+bounces@ring.test"));
  });

  test.each([
    ["550 5.7.1 not you", "never"],
    ["450 4.7.1 slower", "later"],
    ["421 4.3.2 shutting down", "away"],
    ["530 5.7.0 authentication required", "away"],
  ] as const)("%s to a user's address: %s, and no other sender is used", async (reply, kind) => {
    const { fake, host } = await pair();
    fake.refuseSender = (one) => (one === "alice@ring.test" ? reply : undefined);
    expect(await host.send({ from: "alice@ring.test", to, octets })).toMatchObject({ kind });
    expect(await host.send({ from: "bob@ring.test", to, octets })).toMatchObject({ kind: "taken" });
    expect(fake.taken.map((mail) => mail.from)).toEqual(["bob@ring.test"]);
  });

  test("5yz to every sender is not about the mail", async () => {
    const { fake, host } = await pair();
    fake.refuseSender = () => "550 5.7.1 go away";
    expect(await host.send({ from, to, octets })).toMatchObject({ kind: "away" });
    expect(await host.send({ from, to, octets })).toMatchObject({ kind: "away" });
  });
});

test("nobody there, or gone in the middle: away, and then taken", async () => {
  const { fake, host } = await pair();
  fake.treat = () => "vanish";
  expect(await host.send({ from, to, octets })).toMatchObject({ kind: "away" });
  await fake.stop();
  expect(await host.send({ from, to, octets })).toMatchObject({ kind: "away" });
  await fake.start();
  fake.treat = () => "take";
  expect(await host.send({ from, to, octets })).toMatchObject({ kind: "taken" });
});

test("close breaks off what is on its way", async () => {
  const { fake, host } = await pair();
  const hangs = new Promise<void>((resolve) => {
    fake.treat = () => {
      resolve();
      return "hang";
    };
  });
  const sent = host.send({ from, to, octets });
  await hangs;
  host.close();
  expect(await sent).toMatchObject({ kind: "away" });
});

test.each(["an address\r\nRCPT TO:<x@y>", "a@b> SIZE=1"])(
  "%j never reaches the wire",
  async (address) => {
    const { fake, host } = await pair();
    expect((await host.send({ from, to: address, octets })).kind).not.toBe("taken");
    expect(fake.tries).toEqual([]);
  },
);

describe("login and TLS", () => {
  const login = (password: string) => ({ credentials: { user: "ring", password } });
  const auth: FakeSmartHostOptions = {
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _, done) =>
      username === "ring" && password === "right"
        ? done(null, { user: "ring" })
        : done(Object.assign(new Error("no"), { responseCode: 535 })),
  };

  test("the right password; a wrong one is not about the mail", async () => {
    const { host } = await pair(auth, login("right"));
    expect(await host.send({ from, to, octets })).toMatchObject({ kind: "taken" });
    const wrong = await pair(auth, login("wrong"));
    expect(await wrong.host.send({ from, to, octets })).toMatchObject({ kind: "away" });
    expect(wrong.fake.tries).toEqual([]);
  });

  test("required: nothing is said to a server without TLS", async () => {
    let asked = false;
    const onAuth: FakeSmartHostOptions["onAuth"] = (_, __, done) => {
      asked = true;
      done(null, { user: "ring" });
    };
    const { fake, host } = await pair({ ...auth, onAuth }, { tls: "required", ...login("right") });
    expect(await host.send({ from, to, octets })).toMatchObject({ kind: "away" });
    expect(asked).toBe(false);
    expect(fake.tries).toEqual([]);
  });

  test("a certificate of nobody's is good enough for opportunistic, not for required", async () => {
    const { cert, key } = certificate;
    let handshakes = 0;
    const secure: FakeSmartHostOptions = {
      ...{ disabledCommands: [], cert, key },
      onSecure: (_, __, done) => {
        handshakes += 1;
        done();
      },
    };
    const opportunistic = await pair(secure);
    expect(await opportunistic.host.send({ from, to, octets })).toMatchObject({ kind: "taken" });
    expect(handshakes).toBe(1);
    const required = await pair(secure, { tls: "required" });
    expect(await required.host.send({ from, to, octets })).toMatchObject({ kind: "away" });
    expect(required.fake.tries).toEqual([]);
  });
});
