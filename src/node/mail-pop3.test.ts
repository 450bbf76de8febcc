import { afterEach, describe, expect, test, vi } from "vitest";
import { TestClient } from "../../tests/transcripts/pop3-support.js";
import type { NodeConfig } from "../config/index.js";
import type {
  AuthenticationResult,
  Authenticator,
  ClientOrigin,
  Identity,
  SaslReply,
} from "../mailbox/authentication.js";
import { parseWho } from "../mailbox/login-name.js";
import type { QueueSession } from "../middleware/broker/broker.js";
import type { ReplicatedMaildrop } from "../replication/maildrop.js";
import type { MailboxName } from "../shared/ids.js";
import type { StoredMessage } from "../shared/operation.js";
import { createMailPop3Servers } from "./mail-pop3.js";

const undo: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const config = {
  ...{ hostName: "test", plainAuth: "loopback", limits: { smtp: {}, pop3: {} } },
  ...{ pop3: { host: "127.0.0.1", port: 0 }, pop3s: "off" },
} as unknown as NodeConfig;
const quietLog = { debug() {}, info() {}, warn() {}, error() {} };
const alice = "alice@ring.test" as MailboxName;
const granted = (folder: Identity["folder"] = "inbox"): AuthenticationResult => ({
  kind: "granted",
  identity: { mailbox: alice, folder },
});

/** Takes the password that says what the answer is. */
class FakeAuthenticator implements Authenticator {
  readonly asked: [string, ClientOrigin][] = [];

  async password(username: string, password: string, from: ClientOrigin) {
    this.asked.push([username, from]);
    return this.#answer(password, username);
  }

  begin(mechanism: string, from: ClientOrigin) {
    this.asked.push([mechanism, from]);
    return {
      respond: async (data: Buffer | undefined): Promise<SaslReply> => {
        const text = data?.toString() ?? "";
        if (text === "") return { kind: "challenge", data: Buffer.from("go on") };
        if (text === "nonsense") return { kind: "malformed" };
        return { kind: "done", result: this.#answer(text) };
      },
    };
  }

  #answer(text: string, username = ""): AuthenticationResult {
    if (text === "inbox" || text === "outbox") return granted(text);
    if (text === "queue") {
      const { opens } = parseWho(username, "ring.test");
      return { kind: "granted", identity: { mailbox: alice, ...opens } };
    }
    if (text === "throttled") return { kind: "throttled", retryAfterMs: 61_000 };
    return text === "tempfail" ? { kind: "tempfail" } : { kind: "denied" };
  }
}

async function start(answer: "open" | "inUse" | "tempfail" = "open") {
  const authenticator = new FakeAuthenticator();
  const opened: Identity[] = [];
  let released = 0;
  const maildrop = {
    messages: [],
    release: () => {
      released += 1;
    },
  } as unknown as ReplicatedMaildrop;
  const acknowledged: string[] = [];
  const session: QueueSession = {
    entries: ["1", "2"].map((digit) => ({
      message: { id: digit.repeat(32), trace: "T: t\r\n", bodyOctets: 4 } as StoredMessage,
      redelivered: 0,
    })),
    octetsOf: ({ message: { trace, bodyOctets } }) => trace.length + bodyOctets,
    read: async ({ message }) => Buffer.from(`${message.trace}\r\n${message.id.slice(0, 2)}`),
    acknowledge: async (entries) => {
      acknowledged.push(...entries.map(({ message }) => message.id));
      return true;
    },
    close: async () => {
      released += 1;
    },
  };
  const servers = createMailPop3Servers({
    config,
    authenticator,
    log: quietLog,
    mailboxes: {
      open: async (identity) => {
        opened.push(identity);
        return answer === "open" ? { kind: "open", maildrop } : { kind: answer, why: "" };
      },
    },
    queues: {
      openQueue: async (queue, user) => {
        opened.push({ mailbox: user, folder: "queue", queue });
        return answer === "open" ? { kind: "open", session } : { kind: answer };
      },
      worthALook: async (queues, user) => {
        opened.push({ mailbox: user, folder: "queue", queue: queues.join(" ") });
        return queues.filter((queue) => queue !== "empty");
      },
    },
  });
  const { pop3 } = await servers.listen();
  const client = new TestClient(Number(pop3.split(":")[1]));
  undo.push(() => servers.close());
  undo.push(() => void client.socket.destroy());
  await client.line();
  return { authenticator, client, opened, acknowledged, released: () => released };
}

const base64 = (text: string) => Buffer.from(text).toString("base64");
const origin = { address: "127.0.0.1", protocol: "pop3" };

test("a queue: what is deleted is acknowledged at QUIT, and the session is closed", async () => {
  const { client, opened, acknowledged, released } = await start();
  await client.ask("USER alice/queue/orders");
  expect(await client.ask("PASS queue")).toMatch(/^\+OK /);
  expect(opened).toEqual([{ mailbox: alice, folder: "queue", queue: "orders" }]);
  expect(await client.ask("STAT")).toBe("+OK 2 20\r\n");
  expect(await client.ask("UIDL 2")).toBe(`+OK 2 ${"2".repeat(32)}\r\n`);
  expect(await client.ask("DELE 2")).toMatch(/^\+OK/);
  expect(acknowledged).toEqual([]);
  expect(await client.ask("QUIT")).toMatch(/^\+OK/);
  expect(acknowledged).toEqual(["2".repeat(32)]);
  await vi.waitFor(() => expect(released()).toBe(1));
});

test("of several queues, those are listed that are worth a look; nothing can be deleted", async () => {
  const { client, opened, acknowledged } = await start();
  await client.ask("USER alice/queue/?orders,empty,bills,orders,no such name!");
  expect(await client.ask("PASS queue")).toMatch(/^\+OK /);
  expect(opened).toEqual([{ mailbox: alice, folder: "queue", queue: "orders empty bills" }]);
  expect(await client.ask("UIDL 1")).toBe("+OK 1 orders\r\n");
  expect(await client.ask("UIDL 2")).toBe("+OK 2 bills\r\n");
  expect(await client.ask("UIDL 3")).toMatch(/^-ERR/);
  expect(await client.ask("DELE 1")).toMatch(/^\+OK/);
  expect(await client.ask("QUIT")).toMatch(/^-ERR/);
  expect(acknowledged).toEqual([]);
});

test("a queue that has its one consumer is in use", async () => {
  const { client } = await start("inUse");
  await client.ask("USER alice/queue/orders");
  expect(await client.ask("PASS queue")).toMatch(/^-ERR \[IN-USE\]/);
});

describe("with an authenticator", () => {
  const answers = [
    ["inbox", /^\+OK /],
    ["outbox", /^\+OK /],
    ["wrong", /^-ERR \[AUTH\]/],
    ["throttled", /^-ERR \[SYS\/TEMP\] .*61 s/],
    ["tempfail", /^-ERR \[SYS\/TEMP\]/],
  ] as const;

  test.each(answers)("USER and PASS: %s", async (password, reply) => {
    const { authenticator, client, opened } = await start();
    await client.ask("USER alice/outbox");
    expect(await client.ask(`PASS ${password}`)).toMatch(reply);
    expect(authenticator.asked).toMatchObject([["alice/outbox", origin]]);
    const isOpen = password === "inbox" || password === "outbox";
    expect(opened).toEqual(isOpen ? [{ mailbox: alice, folder: password }] : []);
  });

  test.each(answers)("AUTH in two steps: %s", async (text, reply) => {
    const { authenticator, client } = await start();
    expect(await client.ask("AUTH SCRAM-SHA-256")).toBe(`+ ${base64("go on")}\r\n`);
    expect(await client.ask(base64(text))).toMatch(reply);
    expect(authenticator.asked).toMatchObject([["SCRAM-SHA-256", origin]]);
  });

  test("AUTH: malformed is no try", async () => {
    const { client, opened } = await start();
    expect(await client.ask(`AUTH PLAIN ${base64("nonsense")}`)).toBe(
      "-ERR malformed SASL response\r\n",
    );
    expect(opened).toEqual([]);
  });

  test("every mechanism is offered", async () => {
    const { client } = await start();
    client.send("CAPA\r\n");
    const lines = await client.until("\r\n.\r\n");
    expect(lines).toContain("SASL SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN\r\n");
  });

  test.each([
    ["inUse", /^-ERR \[IN-USE\]/],
    ["tempfail", /^-ERR \[SYS\/TEMP\]/],
  ] as const)("a maildrop that is %s", async (answer, reply) => {
    const { client } = await start(answer);
    expect(await client.ask(`AUTH PLAIN ${base64("inbox")}`)).toMatch(reply);
  });

  test("the maildrop is released once", async () => {
    const { client, released } = await start();
    await client.ask(`AUTH PLAIN ${base64("inbox")}`);
    await client.ask("QUIT");
    expect(released()).toBe(1);
  });
});
