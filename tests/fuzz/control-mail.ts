/** Mail to the ring's control address, in any shape: only what was asked and signed is done. */
import fc from "fast-check";
import type { ConfigurationRequest, OperationName } from "../../src/ebm/index.js";
import { readMail } from "../../src/ebm/index.js";
import { parseAsk, isOperation } from "../../src/middleware/control/questions.js";
import { ControlWorld, TestDevice } from "../../src/middleware/control/testing.js";
import type { MailboxName } from "../../src/shared/ids.js";
import { check, fuzzer } from "./fuzzer.js";
import { mutated } from "./octets.js";

const operations: readonly OperationName[] = [
  ...(["register", "login", "refresh", "logout", "resolve", "announce", "servers"] as const),
  ...(["declareExchange", "removeExchange", "declareQueue", "removeQueue", "queueStatus"] as const),
  ...(["bind", "unbind", "settle", "redrive", "listContacts", "addContact"] as const),
  ...(["removeContact", "markRead", "listRead", "quota"] as const),
];
const fieldNames = [
  ...[
    "user",
    "name",
    "queue",
    "exchange",
    "key",
    "headers",
    "match",
    "ids",
    "ack",
    "nack",
    "extend",
  ],
  ...["password", "record", "invitation", "type", "publishers", "leaseMs", "octetsMax", "max"],
  ...["__proto__", "constructor", "toString", "entry", "ms", "delayMs", "push"],
];
const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    "bob@ring.test",
    "q",
    "0".repeat(32),
    "all",
    "topic",
    "everyone",
    "",
    "\r\n",
  ),
  fc.constantFrom<unknown>(0, 1, -1, 1.5, 1e300, true, false, null),
  fc.string({ maxLength: 8 }),
);
const objectOf = (inner: fc.Arbitrary<unknown>): fc.Arbitrary<string> =>
  fc
    .array(fc.tuple(fc.constantFrom(...fieldNames), inner), { maxLength: 6 })
    // As text, so that keys come twice and `__proto__` is a key.
    .map((fields) => `{${fields.map(([key, value]) => `"${key}":${String(value)}`).join()}}`);
const json = scalar.map((value) => JSON.stringify(value));
const nested = fc.oneof(
  json,
  fc.array(json, { maxLength: 3 }).map((all) => `[${all.join()}]`),
  objectOf(json),
);
const ask = fc.oneof({ weight: 6, arbitrary: objectOf(nested) }, nested);

export const controlQuestion = fuzzer({
  name: "control-question",
  testRuns: 3_000,
  inputs: fc.record({ operation: fc.constantFrom(...operations), ask }),
  run({ operation, ask: text }) {
    check(isOperation(operation), () => `${operation} is not known`);
    const given: unknown = JSON.parse(text);
    const picked = parseAsk(operation, given) as Record<string, unknown> | undefined;
    if (!picked) return;
    check(Object.getPrototypeOf(picked) === Object.prototype, () => "another prototype");
    for (const [key, value] of Object.entries(picked)) {
      check(key !== "__proto__" && Object.hasOwn(given as object, key), () => `made up: ${key}`);
      check((given as Record<string, unknown>)[key] === value, () => `changed: ${key}`);
    }
    const again = JSON.stringify(parseAsk(operation, picked));
    check(again === JSON.stringify(picked), () => `not the same again: ${again}`);
  },
});

const user = "ann@ring.test" as MailboxName;
const world = new ControlWorld();
const ann = new TestDevice(world, user);
const contacts = `contacts:${user}`;
const asked: ConfigurationRequest = { operation: "addContact", ask: { user: "bob@ring.test" } };
/** Made once the account is there; mutations are of these. */
const bases = ["first", "second"].map((id) =>
  ann.seal([{ kind: "configuration", id, body: asked }], { token: "t" }),
);
const tokens = [
  "\r\n",
  "--=_ebm",
  "=",
  '{"ebm":1,',
  "Content-Transfer-Encoding: 7bit\r\n",
  "RUJNMQ",
  "\0",
  "A",
];

export const controlMail = fuzzer({
  name: "control-mail",
  testRuns: 1_000,
  open: async () => {
    const { code } = await ann.start("register");
    check(code === 250, () => "no account to try with");
  },
  // The token is not known before the account is there: edits of the mail are made then.
  inputs: fc.record({ edited: mutated(bases, tokens), signed: fc.boolean(), text: ask }),
  async run({ edited, signed, text }) {
    const { registers } = world.mail;
    world.setDrop("ring@ring.test" as MailboxName, []);
    world.setDrop(`${user}/config` as MailboxName, []);
    registers.values.delete(contacts);
    const frame = {
      kind: "configuration",
      id: "q",
      body: { ...asked, ask: JSON.parse(text) },
    } as const;
    const own = ann.seal([frame as never]);
    const mail = signed ? own : Buffer.from(edited);
    // Who is known already is not counted as a stranger.
    const reply = await world.take(mail, { user });
    check(/^ebm=(?:ok|kept|denied|malformed|full)(?: [ -~]*)?$/.test(reply.text), () => reply.text);
    const added = registers.values.get(contacts);
    if (signed) {
      const picked = parseAsk("addContact", JSON.parse(text));
      check((added !== undefined) === (picked !== undefined), () => `${reply.text}: ${text}`);
      return;
    }
    // Its token is none: however it is edited, nothing is done.
    check(added === undefined, () => "somebody else's question was executed");
    const isKept = world.drops.get("ring@ring.test")?.length === 1;
    check(isKept === reply.text.startsWith("ebm=kept"), () => `kept: ${isKept}, but ${reply.text}`);
    const packet = (() => {
      try {
        return readMail(mail).packet;
      } catch {
        return undefined;
      }
    })();
    check(packet !== undefined || isKept, () => `not kept: ${reply.text}`);
  },
});
