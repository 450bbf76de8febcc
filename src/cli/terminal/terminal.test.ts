/** What a person at 80×24 sees, screen by screen: keys in, the whole window out. */
import { beforeAll, describe, expect, test } from "vitest";
import type { MailViewer } from "../../mail-view/viewer.js";
import { FakeRing, type FakeMail } from "../test-ringpost.js";
import { createEffects } from "./effects.js";
import type { Picture, Size } from "./picture.js";
import { firstState, type Event, type State } from "./state.js";
import { widthOf } from "./text.js";
import { update } from "./update.js";
import { view } from "./view.js";

beforeAll(() => {
  process.env["TZ"] = "UTC";
});

const evil = "\u001b]0;owned\u0007\u202e";
const viewer: MailViewer = {
  view: async (mail) => ({
    kind: "parsed",
    ...{
      from: "bob@ring.test",
      to: "alice@ring.test",
      cc: "",
      subject: `lunch${evil}`,
      cut: false,
    },
    date: new Date("2026-11-21T12:00:00Z"),
    ...{ text: String(mail), attachments: [] },
  }),
  close: async () => undefined,
};

const mail = (uid: string, more: Partial<FakeMail> = {}): FakeMail => ({
  ...{ uid, octets: 100, from: "Bob <bob@ring.test>", to: "alice@ring.test" },
  ...{ subject: `mail ${uid}`, date: new Date("2026-11-21T12:00:00Z"), read: false },
  ...{ octetsOf: `text of ${uid}`, ...more },
});

/** Someone at a terminal. */
class Person {
  state: State;
  size: Size = { columns: 80, rows: 24 };
  readonly #pending = new Set<Promise<void>>();
  readonly #effects;

  constructor(readonly ring: FakeRing) {
    this.state = firstState({ server: "127.0.0.1:5000", user: "alice" });
    let told: () => void = () => undefined;
    this.#effects = createEffects({
      ...{ connect: ring.connect, viewer, storeFor: () => undefined },
      signal: new AbortController().signal,
      tell: (event) => {
        this.#tell(event);
        if (event.kind === "done" || event.kind === "failed") told();
      },
    });
    this.run = (effect) => {
      const done = new Promise<void>((resolve) => {
        const before = told;
        told = () => {
          before();
          resolve();
        };
      });
      this.#pending.add(done);
      this.#effects.run(effect);
    };
  }

  private readonly run: (effect: Parameters<ReturnType<typeof createEffects>["run"]>[0]) => void;

  #tell(event: Event): void {
    const step = update(this.state, event);
    this.state = step.state;
    for (const effect of step.effects) this.run(effect);
  }

  /** `<enter>` is a key, all else is typed; then waits until all that followed is done. */
  async types(...inputs: readonly string[]): Promise<this> {
    for (const input of inputs) {
      const key = /^<(.+)>$/.exec(input)?.[1];
      if (key !== undefined) this.#tell({ kind: "key", key });
      else for (const text of input) this.#tell({ kind: "text", text });
      await this.quiet();
    }
    return this;
  }

  async ticks(count: number): Promise<this> {
    for (let n = 0; n < count; n += 1) this.#tell({ kind: "tick" });
    await this.quiet();
    return this;
  }

  async quiet(): Promise<void> {
    while (this.state.busy.length > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  get picture(): Picture {
    return view(this.state, this.size);
  }

  /** The window as text, with `▮` where the cursor is, and the selected line marked. */
  get screen(): string {
    const { lines, cursor } = this.picture;
    return lines
      .map((line, row) => {
        const text = line.map(({ text: part }) => part).join("");
        const marked =
          line.some(({ style }) => style === "selected") && row > 0 ? `${text}«` : text;
        if (cursor?.row !== row) return marked.trimEnd();
        return `${marked.trimEnd().padEnd(cursor.column).slice(0, cursor.column)}▮${marked.slice(cursor.column + 1).trimEnd()}`;
      })
      .join("\n")
      .replaceAll(/\n{4,}/g, "\n⋮\n");
  }
}

async function loggedIn(ring = new FakeRing()): Promise<Person> {
  return await new Person(ring).types("wonderland", "<enter>");
}

test("logging in: the password is not shown, a wrong one is said, the right one opens the inbox", async () => {
  const ring = new FakeRing();
  ring.mails.inbox.push(mail("1", { read: true }), mail("2", { subject: `lunch${evil}` }));
  const person = new Person(ring);
  await person.types("wrong");
  expect(person.screen).toMatchInlineSnapshot(`
    " Ringpost
    ⋮
                   Log in to Ringpost

                   Server    [127.0.0.1:5000                    ]
                   Name      [alice                             ]
                   Password  [•••••▮                            ]
    ⋮
    ⏎ log in   ^N new account   Tab next field   Esc quit"
  `);
  await person.types("<enter>");
  expect(person.screen).toMatch(/\nwrong name or password\n/);
  await person.types("<ctrl-u>", "wonderland", "<enter>");
  expect(person.screen).toMatchInlineSnapshot(`
    " 1 Inbox (1)  2 Outbox  3 Contacts  4 Chats                     alice@ring.test
    ● 21 Nov 12:00  Bob <bob@ring.test>       lunch^[]0;owned^G<U+202E>             «
      21 Nov 12:00  Bob <bob@ring.test>       mail 1
    ⋮
    ↑↓ choose   ⏎ read   c write   d delete   g look   1-4 go   q quit"
  `);
  expect(ring.connected[0]?.servers).toEqual(["127.0.0.1:5000"]);
});

test("a new account is made with ^N; a name that is taken is said", async () => {
  const ring = new FakeRing();
  const person = new Person(ring);
  await person.types("secret", "<ctrl-n>");
  expect(person.screen).toMatch(/there is such an account/);
  await person.types("<backtab>", "<ctrl-u>", "carol", "<ctrl-n>");
  expect(person.state.user).toBe("carol@ring.test");
  expect([...ring.accounts.keys()]).toEqual(["alice", "carol"]);
});

test("reading, answering and deleting a mail", async () => {
  const ring = new FakeRing();
  const text = `Hi Alice,\n${"very ".repeat(30)}long\n${evil}\nBob`;
  ring.mails.inbox.push(mail("1", { octetsOf: text }));
  const person = await loggedIn(ring);
  await person.types("<enter>");
  expect(person.screen).toMatchInlineSnapshot(`
    " 1 Inbox  2 Outbox  3 Contacts  4 Chats                         alice@ring.test
    From: bob@ring.test
    To: alice@ring.test
    Date: Sat, 21 Nov 2026 12:00:00 GMT
    Subject: lunch^[]0;owned^G<U+202E>

    Hi Alice,
    very very very very very very very very very very very very very very very very
    very very very very very very very very very very very very very very long
    ^[]0;owned^G<U+202E>
    Bob
    ⋮
    ↑↓ scroll   r reply   d delete   Esc back   q quit"
  `);
  expect(ring.calls).toEqual(["read 1"]);
  await person.types("r", "Yes!");
  expect(person.screen).toMatchInlineSnapshot(`
    " 1 Inbox  2 Outbox  3 Contacts  4 Chats                         alice@ring.test
    To       bob@ring.test
    Subject  Re: mail 1
    ────────────────────────────────────────────────────────────────────────────────
    Yes!▮

    > Hi Alice,
    > very very very very very very very very very very very very very very very ve
    ry very very very very very very very very very very very very very very long
    > ^[]0;owned^G<U+202E>
    > Bob
    ⋮
    ^X send   Tab next field   Esc away with it"
  `);
  await person.types("<ctrl-x>");
  expect(person.screen).toMatch(/\nSent\.\n/);
  expect(JSON.parse(ring.calls[1]?.slice(5) ?? "")).toMatchObject({
    ...{ to: ["bob@ring.test"], subject: "Re: mail 1" },
    text: expect.stringMatching(/^Yes!\n\n> Hi Alice,\n> very /) as string,
  });
  await person.types("d");
  expect(person.screen).toMatch(/\nDelete "mail 1"\? y\/n\n/);
  await person.types("n");
  expect(ring.mails.inbox).toHaveLength(1);
  await person.types("d", "y");
  expect(ring.mails.inbox).toHaveLength(0);
  expect(person.screen).toMatch(/No mail\.[^]*Deleted\./);
});

test("a draft stays until its mail is taken", async () => {
  const person = await loggedIn();
  await person.types("c", "<ctrl-x>");
  expect(person.screen).toMatch(/Please say to whom\./);
  await person.types("bob@ring.test, ann@ring.test", "<enter>", "hello", "<enter>");
  await person.types("one", "<enter>", "two", "<up>", "<home>", "> ", "<down>", "<end>", "!");
  expect(person.screen).toMatchInlineSnapshot(`
    " 1 Inbox  2 Outbox  3 Contacts  4 Chats                         alice@ring.test
    To       bob@ring.test, ann@ring.test
    Subject  hello
    ────────────────────────────────────────────────────────────────────────────────
    > one
    two!▮
    ⋮
    ^X send   Tab next field   Esc away with it"
  `);
  await person.types("<ctrl-x>");
  expect(JSON.parse(person.ring.calls[0]?.slice(5) ?? "")).toEqual({
    ...{ to: ["bob@ring.test", "ann@ring.test"], subject: "hello", text: "> one\ntwo!" },
  });
});

test("a chat as on a phone: bubbles, times and ticks, and lines that come by themselves", async () => {
  const ring = new FakeRing();
  const at = (time: string) => new Date(`2026-11-21T${time}:00Z`);
  ring.contacts.push({ user: "bob@ring.test", name: "Bob" });
  ring.chats.set("bob@ring.test", [
    { id: "1", from: "alice@ring.test", text: "Are you there?", at: at("16:58"), state: "read" },
    { id: "2", from: "bob@ring.test", text: `Yes 😀${evil}`, at: at("16:59"), state: "received" },
    { id: "3", from: "alice@ring.test", text: "Lunch?", at: at("17:00"), state: "delivered" },
  ]);
  ring.chats.set("carol@ring.test", [
    { id: "1", from: "carol@ring.test", text: "hello", at: at("09:00"), state: "received" },
  ]);
  const person = await loggedIn(ring);
  await person.types(
    "3",
    "4",
    "<enter>",
    "At noon, in the canteen, if that is all right with you?",
  );
  expect(person.screen).toMatchInlineSnapshot(`
    " 1 Inbox  2 Outbox  3 Contacts  4 Chats                         alice@ring.test
    Bob                17:00 │ bob@ring.test                                        «
      You: Lunch?            │
    carol@ring.test    09:00 │
      hello                  │
                             │
                             │
                             │
                             │
                             │
                             │
                             │
                             │
                             │
                             │
                             │
                             │                      21 Nov 2026
                             │                             Are you there?  16:58 ✓✓
                             │  Yes 😀^[]0;owned^G<U+202E>  16:59
                             │                                      Lunch?  17:00 ✓
                             │ ─────────────────────────────────────────────────────
                             │ > on, in the canteen, if that is all right with you?▮

    ⏎ send   ↑↓ scroll   Esc back"
  `);
  await person.types("<enter>");
  expect(ring.chats.get("bob@ring.test")?.at(-1)?.text).toMatch(/^At noon/);
  // Meanwhile Bob writes, without a key being pressed.
  ring.chats.get("bob@ring.test")?.push({
    ...{ id: "5", from: "bob@ring.test", text: "Good.", at: at("17:06"), state: "received" },
  });
  await person.ticks(1);
  expect(person.screen).toMatchInlineSnapshot(`
    " 1 Inbox  2 Outbox  3 Contacts  4 Chats                         alice@ring.test
    Bob                17:06 │ bob@ring.test                                        «
      Good.                  │
    carol@ring.test    09:00 │
      hello                  │
                             │
                             │
                             │
                             │
                             │
                             │
                             │
                             │
                             │                      21 Nov 2026
                             │                             Are you there?  16:58 ✓✓
                             │  Yes 😀^[]0;owned^G<U+202E>  16:59
                             │                                      Lunch?  17:00 ✓
                             │                  At noon, in the canteen, if that is
                             │                  all right with you?         17:05 ·
                             │  Good.  17:06
                             │ ─────────────────────────────────────────────────────
                             │ > ▮

    ⏎ send   ↑↓ scroll   Esc back"
  `);
});

test("contacts are added, opened as chats, and removed", async () => {
  const person = await loggedIn();
  await person.types("3", "a", "bob@ring.test Bob from work", "<enter>");
  expect(person.screen).toMatchInlineSnapshot(`
    " 1 Inbox  2 Outbox  3 Contacts  4 Chats                         alice@ring.test
      Bob from work                     bob@ring.test                               «
    ⋮
    ↑↓ choose   ⏎ chat   a add   d remove   1-4 go   q quit"
  `);
  await person.types("<enter>");
  expect(person.state.screen).toMatchObject({ kind: "chats", open: "bob@ring.test" });
  await person.types("q is typed, not obeyed", "<enter>", "<escape>", "3", "d", "y");
  expect(person.ring.contacts).toEqual([]);
  expect(person.ring.chats.get("bob@ring.test")).toHaveLength(1);
  expect(person.state.isOver).toBe(false);
});

test("new mail comes by itself, and a lost connection is said", async () => {
  const person = await loggedIn();
  expect(person.screen).toMatch(/No mail\./);
  person.ring.mails.inbox.push(mail("1"));
  await person.ticks(15);
  expect(person.screen).toMatch(/● 21 Nov 12:00/);
  person.ring.status("offline");
  expect(person.screen).toMatch(/alice@ring\.test · offline/);
  person.ring.status("connected");
  expect(person.screen).not.toMatch(/offline/);
});

test("a line of a chat is told on any screen, and shown where the chat is open", async () => {
  const person = await loggedIn();
  const at = new Date("2026-11-21T12:00:00Z");
  const said = (id: string, text: string) =>
    ({ id, from: "bob@ring.test", text, at, state: "received" }) as const;
  person.ring.chat("bob@ring.test", said("1", "lunch?\u001b[2J"));
  expect(person.screen).toMatch(/bob@ring\.test: lunch\?\^\[\[2J/);
  await person.types("4", "<enter>");
  expect(person.state.screen).toMatchObject({ kind: "chats", open: "bob@ring.test" });
  person.ring.chat("bob@ring.test", said("2", "at noon"));
  await person.quiet();
  expect(person.screen).toMatch(/at noon/);
  expect(person.screen).not.toMatch(/bob@ring\.test: at noon/);
});

describe("any keys at any size", () => {
  const keys =
    "up down left right home end pageup pagedown enter escape tab backtab backspace delete";
  const inputs = [
    ...keys.split(" ").map((key) => `<${key}>`),
    ...["<ctrl-n>", "<ctrl-x>", "<ctrl-u>", "1", "2", "3", "4", "c", "d", "y", "n", "a", "r", "g"],
    ...["日本語", "👩‍👩‍👧", "e\u0301", "bob@ring.test", "x".repeat(200), "\u001b[2J", " "],
  ];

  test.each([1, 2, 3, 4, 5, 6])(
    "seed %i: as many lines as rows, none too wide, no controls",
    async (seed) => {
      let random = seed;
      const next = (below: number): number => {
        random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
        return (random >>> 8) % below;
      };
      const ring = new FakeRing();
      for (let n = 0; n < 50; n += 1)
        ring.mails.inbox.push(mail(String(n), { subject: `${n} 日本 ${evil}` }));
      const text = `wide 日本語 ${evil} ${"word ".repeat(60)}`;
      const at = new Date(0);
      ring.chats.set(`b${evil}`, [{ id: "1", from: "b", text, at, state: "received" }]);
      const person = await loggedIn(ring);
      for (let n = 0; n < 150; n += 1) {
        await person.types(inputs[next(inputs.length)] ?? "");
        person.size = { columns: 20 + next(120), rows: 5 + next(50) };
        const { lines, cursor } = person.picture;
        expect(lines).toHaveLength(person.size.rows);
        for (const line of lines) {
          const shown = line.map(({ text: part }) => part).join("");
          expect(shown).not.toMatch(/[\p{Cc}\u202a-\u202e]/u);
          expect(widthOf(shown)).toBeLessThanOrEqual(person.size.columns);
        }
        if (cursor === undefined) continue;
        expect(cursor.row).toBeLessThan(person.size.rows);
        expect(cursor.column).toBeLessThan(person.size.columns);
      }
    },
  );
});
