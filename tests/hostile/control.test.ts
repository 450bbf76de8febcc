/** The ring's control address under bad input from outside: broken, forged, replayed, too much. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { publicKeyText } from "../../src/ebm/index.js";
import { chord } from "../support/chord.js";
import { broker, control, Device, packetsIn, sendToRing } from "../support/ebm-device.js";
import { fetchAll } from "../support/pop3-client.js";
import { admin, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;
let alice: Device;
let mallory: Device;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2, args: ["--registration", "open"] });
  alice = new Device("alice");
  mallory = new Device("mallory");
  for (const device of [alice, mallory]) await device.start(ring.member(0), "register", password);
}, 120_000);

const at = (node: number) => ring.member(node % 3);
const contacts = async (): Promise<readonly string[]> => {
  const { contacts: all } = await alice.ask(at(1), password, "listContacts", {});
  return all.map(({ user }) => user);
};
const kept = async () => (await admin(ring.entry.addr, "controlList", {})).mails;
/** Lines of all logs that say so. */
const logged = (why: RegExp): number =>
  ring.members
    .flatMap(({ id }) => readFileSync(join(ring.folder, "logs", `${id}.log`), "utf8").split("\n"))
    .filter((line) => line.includes("a mail to the ring was refused") && why.test(line)).length;
const plain = (subject: string, body: string): Buffer =>
  Buffer.from(`From: <a@client.test>\r\nSubject: ${subject}\r\n\r\n${body}\r\n`);

describe("a program with nothing but mail", () => {
  test("registers, and is known at every node", async () => {
    const carol = new Device("carol");
    await carol.start(at(0), "register", password);
    expect(await carol.ask(at(1), password, "resolve", { user: carol.user })).toMatchObject({
      user: carol.user,
      addresses: ["carol+data@ring.test"],
    });
    const { servers } = await carol.ask(at(2), password, "servers", {});
    expect(servers.map(({ smtp }) => smtp).sort()).toEqual(
      ring.members.map(({ smtp }) => smtp).sort(),
    );
    // The signature of an answer is of a key that the session named.
    const [answer] = await packetsIn(at(1).pop3, "carol/config", password);
    expect(answer?.header.from).toMatchObject({ user: control, epoch: 0 });
  });

  test("has contacts, marks and a quota that every node knows", async () => {
    const dora = new Device("dora");
    await dora.start(at(0), "register", password);
    await dora.ask(at(1), password, "addContact", { user: "bob@ring.test", name: "Bob" });
    await dora.ask(at(2), password, "addContact", { user: "ann@ring.test" });
    await dora.ask(at(0), password, "removeContact", { user: "ann@ring.test" });
    expect(await dora.ask(at(1), password, "listContacts", {})).toEqual({
      contacts: [{ user: "bob@ring.test", name: "Bob" }],
    });
    const ids = [randomBytes(16).toString("hex"), randomBytes(16).toString("hex")];
    await dora.ask(at(2), password, "markRead", { ids });
    expect(await dora.ask(at(0), password, "listRead", {})).toEqual({ ids });
    expect(await dora.ask(at(1), password, "quota", {})).toEqual({ octets: 0, messages: 0 });
    // What the ring kept of a user goes with the account.
    await admin(ring.entry.addr, "userRemove", { name: "dora" });
    const again = new Device("dora");
    await again.start(at(0), "register", password);
    expect(await again.ask(at(1), password, "listContacts", {})).toEqual({ contacts: [] });
    expect(await again.ask(at(2), password, "listRead", {})).toEqual({ ids: [] });
  });

  test("a second device does not put the first one out; logging out does, with all tokens", async () => {
    const first = new Device("eve");
    const second = new Device("eve");
    await first.start(at(0), "register", password);
    await second.start(at(1), "login", password);
    await first.ask(at(2), password, "listContacts", {});
    await second.ask(at(0), password, "logout", {});
    for (const device of [first, second]) {
      const { mail } = device.question("listContacts", {});
      expect(await sendToRing(at(1).smtp, mail)).toMatch(/^550 5\.7\.1 ebm=denied .*token/);
    }
    await first.start(at(2), "login", password);
    await first.ask(at(0), password, "listContacts", {});
  });

  test("mail to alice+data is for alice's programs, not for her inbox", async () => {
    const mail = plain("for a program", "x");
    expect(await sendToRing(at(1).smtp, mail, { to: "Alice+DATA@ring.test" })).toMatch(/^250 /);
    expect(await fetchAll(at(2).pop3, "alice/data", password)).toHaveLength(1);
    expect(await fetchAll(at(2).pop3, "alice", password)).toHaveLength(0);
  });

  test("the ring is alone in its mail", async () => {
    const client = await SmtpClient.connect(at(0).smtp);
    try {
      await client.expect(250, "MAIL FROM:<>");
      await client.expect(250, "RCPT TO:<alice@ring.test>");
      expect((await client.command(`RCPT TO:<${control}>`)).lines[0]).toMatch(/^452 4\.5\.3 /);
      await client.expect(250, "RSET");
      await client.expect(250, "MAIL FROM:<>");
      await client.expect(250, `RCPT TO:<${broker}>`);
      await client.expect(250, `RCPT TO:<${broker}>`);
      expect((await client.command("RCPT TO:<alice@ring.test>")).code).toBe(452);
      expect((await client.command(`RCPT TO:<${control}>`)).code).toBe(452);
      await client.expect(250, "RSET");
      await client.expect(250, "MAIL FROM:<>");
      expect((await client.command("RCPT TO:<ring+else@ring.test>")).code).toBe(550);
    } finally {
      client.destroy();
    }
  });
});

describe("M1: what is no question is kept for the operator and not executed", () => {
  const question = () => alice.question("addContact", { user: "intruder@ring.test" });

  test.each<[string, () => Buffer]>([
    ["ordinary mail", () => plain("hello", "is anybody there?")],
    ["a broken index", () => plain('{"ebm":1,"c":"x","n":', "{}")],
    ["an index with keys twice", () => plain('{"ebm":1,"ebm":1,"c":"x","n":1,"t":"c"}', "x")],
    ["__proto__ in the index", () => plain('{"__proto__":{"ok":true},"ebm":1}', "x")],
    ["a subject of 60 kB", () => plain("x".repeat(900).concat("\r\n ").repeat(60), "x")],
    ["JSON instead of a packet", () => plain("x", '{"operation":"addContact","ask":{}}')],
    [
      "a part that is no packet",
      () => Buffer.from(question().mail.toString().replace(/RUJN/, "AAAA")),
    ],
    [
      "a packet that is cut off",
      () => {
        const text = question().mail.toString();
        return Buffer.from(`${text.slice(0, text.lastIndexOf("\r\n--") - 40)}\r\n--=_ebm--\r\n`);
      },
    ],
    [
      "two questions in one packet",
      () => {
        const body = { operation: "addContact", ask: { user: "intruder@ring.test" } } as const;
        const frame = { kind: "configuration", id: "q", body } as const;
        return alice.mail(alice.seal([frame, frame]));
      },
    ],
    ["an operation that is not known", () => alice.question("constructor" as "quota", {}).mail],
    [
      "__proto__ in a frame",
      () => {
        const body = JSON.parse('{"operation":"addContact","ask":{"user":"intruder@ring.test"}}');
        const frame = { kind: "configuration", id: "q", body, ["__proto__"]: 1 };
        const own = Object.defineProperty(frame, "__proto__", { value: {}, enumerable: true });
        return alice.mail(alice.seal([own as never]));
      },
    ],
  ])("%s", async (_, make) => {
    const before = await kept();
    const mail = make();
    expect(await sendToRing(at(1).smtp, mail)).toMatch(/^250 2\.0\.0 ebm=kept /);
    const now = await kept();
    expect(now).toHaveLength(before.length + 1);
    const { id = "" } = now.at(-1) ?? {};
    const { text } = await admin(at(2).addr, "controlRead", { id });
    expect(
      text.endsWith(
        mail
          .toString()
          .slice(0, 64 * 1024)
          .slice(-200),
      ),
    ).toBe(true);
    expect(await contacts()).not.toContain("intruder@ring.test");
  });

  test("fields that are nobody's are passed over, of a key given twice one counts", async () => {
    const nested = JSON.parse(
      '{"operation":"addContact","ask":{"user":"x@ring.test","user":"bob@ring.test","__proto__":{"name":"z"},"more":1}}',
    );
    const frame = { kind: "configuration", id: "q1", body: nested } as const;
    const mail = alice.mail(alice.seal([frame]));
    expect(await sendToRing(at(0).smtp, mail)).toBe("250 2.0.0 ebm=ok id=q1");
    const { contacts: all } = await alice.ask(at(1), password, "listContacts", {});
    expect(all).toContainEqual({ user: "bob@ring.test" });
  });

  test("what is asked in a way that it can't be is refused", async () => {
    const { mail } = alice.question("markRead", { ids: "all" as never });
    expect(await sendToRing(at(0).smtp, mail)).toMatch(/^550 5\.7\.1 ebm=malformed /);
  });

  test.each([
    ["a body of 1 MB", () => plain("x", `${"y".repeat(70)}\r\n`.repeat(14_000))],
    ["a subject of 1 MB", () => plain("x".repeat(900).concat("\r\n ").repeat(1_150), "x")],
  ])("%s is refused, and nothing is kept of it", async (_, make) => {
    const before = await kept();
    expect(await sendToRing(at(1).smtp, make())).toMatch(/^552 5\.3\.4 /);
    expect(await kept()).toEqual(before);
  });

  test("the operator lists, reads and deletes it by the command line", async () => {
    expect(await sendToRing(at(0).smtp, plain("\u001b]0;title", "for the operator"))).toMatch(
      /^250/,
    );
    const run = (...args: string[]) => chord(["control", ...args, "--entry", at(2).addr]);
    const { id = "" } = (await kept()).at(-1) ?? {};
    const listed = await run("list");
    expect(listed.stdout.toString()).toMatch(new RegExp(`^${id} .*no EBM/1 packet`, "m"));
    const read = await run("read", id);
    expect(read.stdout.toString()).toMatch(/^for the operator$/m);
    expect(read.stdout.toString()).not.toContain("\u001b");
    expect((await run("delete", id)).code).toBe(0);
    expect((await kept()).map((one) => one.id)).not.toContain(id);
    expect((await run("read", id)).code).toBe(1);
  });
});

describe("M2: a forged sender changes nothing, and is logged", () => {
  const ask = { user: "intruder@ring.test" };
  const other = generateKeyPairSync("ed25519").privateKey;

  test.each<[string, () => Buffer, RegExp]>([
    [
      "no token",
      () => {
        const device = new Device("alice");
        return device.question("addContact", ask).mail;
      },
      /there is no session token/,
    ],
    [
      "another user's name in the packet",
      () => {
        const from = { user: alice.user, device: mallory.device, epoch: mallory.epoch };
        return mallory.question("addContact", ask, { header: { from } }).mail;
      },
      /the session token is somebody else's/,
    ],
    [
      "another user's name and device in the packet",
      () => {
        const from = { user: alice.user, device: alice.device, epoch: alice.epoch + 1 };
        return mallory.question("addContact", ask, { header: { from } }).mail;
      },
      /the session token is somebody else's/,
    ],
    [
      "another user's token",
      () => {
        const header = { token: alice.token ?? "" };
        return mallory.question("addContact", ask, { header }).mail;
      },
      /the session token is somebody else's/,
    ],
    [
      "a stolen token and a key that is not on record",
      () => alice.question("addContact", ask, { privateKey: other }).mail,
      /not on record/,
    ],
    [
      "a stolen token and another device",
      () => {
        const thief = new Device("alice");
        thief.token = alice.token;
        return thief.question("addContact", ask).mail;
      },
      /not on record/,
    ],
    [
      "a packet for another ring",
      () => alice.question("addContact", ask, { header: { to: "ring@other.test" } }).mail,
      /addressed to somebody else/,
    ],
    [
      "a token that is none",
      () => alice.question("addContact", ask, { header: { token: "a.b.c" } }).mail,
      /not valid/,
    ],
    [
      "a signature of somebody else",
      () => {
        // The key in the header is alice's, as if she had signed.
        const text = publicKeyText(alice.privateKey);
        const forged = alice.seal(
          [{ kind: "configuration", id: "q", body: { operation: "addContact", ask } }],
          { privateKey: other },
        );
        const named = publicKeyText(other);
        return alice.mail(Buffer.from(forged.toString("latin1").replace(named, text), "latin1"));
      },
      /signature does not fit/,
    ],
  ])("%s", async (_, make, why) => {
    const before = logged(why);
    const line = await sendToRing(at(1).smtp, make(), { from: alice.user });
    expect(line).toMatch(/^550 5\.7\.1 ebm=denied /);
    expect(line).toMatch(why);
    await waitUntil(() => Promise.resolve(logged(why) > before), {
      ...{ deadlineMs: 30_000, everyMs: 50, what: `a line of the log that says ${why}` },
    });
    expect(await contacts()).not.toContain(ask.user);
  });

  test("From and envelope of another mean nothing: it is mallory's list that changes", async () => {
    const { mail } = mallory.question("addContact", ask);
    const forged = Buffer.from(mail.toString().replace(/^From: .*$/m, `From: <${alice.user}>`));
    expect(await sendToRing(at(0).smtp, forged, { from: alice.user })).toMatch(/ebm=ok/);
    expect(await contacts()).not.toContain(ask.user);
    const list = await mallory.ask(at(1), password, "listContacts", {});
    expect(list.contacts.map(({ user }) => user)).toContain(ask.user);
  });

  test.each<[string, () => Parameters<Device["record"]>[0], string]>([
    ["somebody else's address", () => ({ addresses: ["alice+data@ring.test"] }), "forbidden"],
    [
      "an address elsewhere, while the ring sends no mail",
      () => ({ addresses: ["m@other.test"] }),
      "forbidden",
    ],
    ["somebody else's name", () => ({ user: alice.user }), "denied"],
    ["a version far ahead", () => ({ version: Date.now() + 86_400_000 }), "malformed"],
    ["a version that is over", () => ({ version: 1 }), "exists"],
  ])("a record with %s is refused", async (_, fields, code) => {
    const record = mallory.record(fields());
    const { mail } = mallory.question("announce", { record });
    expect(await sendToRing(at(2).smtp, mail)).toMatch(new RegExp(`^550 5\\.7\\.1 ebm=${code} `));
    const { addresses } = await alice.ask(at(0), password, "resolve", { user: mallory.user });
    expect(addresses).toEqual(["mallory+data@ring.test"]);
  });
});

describe("M3: a question that was put before, or is late, changes nothing", () => {
  test("through the same and through other nodes, also when both come at once", async () => {
    const { mail } = alice.question("addContact", { user: "once@ring.test" });
    const lines = await Promise.all([0, 1, 2].map((node) => sendToRing(at(node).smtp, mail)));
    expect(lines.filter((line) => line.startsWith("250 "))).toHaveLength(1);
    expect(lines.filter((line) => /^550 .*packet number/.test(line))).toHaveLength(2);
    await alice.ask(at(0), password, "removeContact", { user: "once@ring.test" });
    for (const node of [0, 1, 2]) {
      expect(await sendToRing(at(node).smtp, mail)).toMatch(/^550 5\.7\.1 ebm=denied .*number/);
    }
    expect(await contacts()).not.toContain("once@ring.test");
  });

  test("of an earlier epoch, too", async () => {
    const early = alice.question("addContact", { user: "early@ring.test" }).mail;
    alice.epoch += 1;
    alice.packet = 0;
    await alice.ask(at(1), password, "listContacts", {});
    expect(await sendToRing(at(2).smtp, early)).toMatch(/^550 5\.7\.1 ebm=denied /);
    expect(await contacts()).not.toContain("early@ring.test");
  });

  test("a login that was captured does not log in, and says nothing of the password", async () => {
    const frank = new Device("frank");
    await frank.start(at(0), "register", password);
    for (const said of [password, "wrong"]) {
      const record = frank.record();
      const { mail } = frank.question("login", { password: said, record });
      await sendToRing(at(1).smtp, mail);
      if (said === "wrong") continue;
      expect(await sendToRing(at(2).smtp, mail)).toMatch(/ebm=denied .*packet number/);
    }
  });

  test.each([
    ["late", -1_000, "expired"],
    ["good for more than ten minutes", 900_000, "ten minutes"],
  ])("%s", async (_, aheadMs, why) => {
    const header = { expiresAtMs: Date.now() + aheadMs };
    const { mail } = alice.question("addContact", { user: "late@ring.test" }, { header });
    const line = await sendToRing(at(0).smtp, mail);
    expect(line).toMatch(/^550 5\.7\.1 ebm=denied /);
    expect(line).toContain(why);
    expect(await contacts()).not.toContain("late@ring.test");
  });
});
