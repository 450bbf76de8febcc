/** `chord mail` as people use it: the built command in a terminal of 80×24. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connect } from "../../src/sdk/index.js";
import { chord, chordBin } from "../support/chord.js";
import { freeRingPort } from "../support/ports.js";
import { needProgram } from "../support/process.js";
import { domain, password } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";
import { PseudoTerminal } from "../support/pseudo-terminal.js";

const scope = ringScope();
const home = mkdtempSync(join(tmpdir(), "ringpost-home-"));
let terminal: PseudoTerminal | undefined;
let nobody = "";

beforeEach(async (context) => {
  needProgram(context, "script");
  nobody = `127.0.0.1:${await freeRingPort()}`;
});
afterEach(() => {
  if (terminal?.exitCode === undefined && terminal?.pid) process.kill(terminal.pid, "SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

function opened(more: NodeJS.ProcessEnv = {}, server = nobody): PseudoTerminal {
  const words = [process.execPath, chordBin, "mail", "--server", server, "--user", "alice"];
  terminal = new PseudoTerminal(words, { XDG_STATE_HOME: home, ...more });
  return terminal;
}

const ctrlC = "\u0003";

test("it fills 80×24, follows the window, and ^C leaves the terminal as it was", async () => {
  const one = opened();
  await one.shows(/Log in to Ringpost/);
  await one.shows(/⏎ log in/);
  expect(one.screen.split("\n")).toHaveLength(24);
  one.type("geheim");
  await one.shows(/Password {2}\[•{6} /);
  expect(one.output).not.toContain("geheim");
  one.resize(100, 30);
  await one.shows(/^([^\n]*\n){29}⏎ log in/);
  one.resize(30, 8);
  await one.shows(/At least 40×10/);
  one.resize(80, 24);
  await one.shows(/⏎ log in/);
  one.type(ctrlC);
  expect(await one.ended()).toBe(0);
  expect(one.isAsBefore).toBe(true);
});

describe("the terminal is as it was after", () => {
  test("a login that nobody answers, and Esc", async () => {
    const one = opened();
    await one.shows(/⏎ log in/);
    one.type("secret\r");
    await one.shows(
      new RegExp(`\n[^\n]*(${nobody.replaceAll(".", "\\.")}|reached|answers)[^\n]*\n⏎`),
    );
    one.type("\u001b");
    expect(await one.ended()).toBe(0);
    expect(one.isAsBefore).toBe(true);
  });

  test("a signal", async () => {
    const one = opened();
    await one.shows(/⏎ log in/);
    process.kill(one.pid, "SIGTERM");
    await one.ended();
    expect(one.isAsBefore).toBe(true);
  });

  test("a bug", async () => {
    const bug = "process.on('SIGUSR2', () => { throw new Error('planted'); })";
    const one = opened({
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(bug)}`,
    });
    await one.shows(/⏎ log in/);
    process.kill(one.pid, "SIGUSR2");
    expect(await one.ended()).toBe(70);
    expect(one.isAsBefore).toBe(true);
    // The last words are on the main screen, where they stay.
    expect(one.output.split("\u001b[?1049l")[1]).toMatch(/internal error .* planted/);
  });
});

test("without a terminal it is one line that says what to do", async () => {
  const { code, stderr } = await chord(["mail", "--user", "alice"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^chord: chord mail needs a terminal; scripts use chord mail list.*\n$/);
});

test("a mail is read and answered, a chat goes both ways, on a ring", async () => {
  const ring = await scope.start({ members: 1 });
  await ring.addUsers(["alice", "bob"]);
  // Who never logged in has no place that a chat could go to.
  const bob = await connect({ servers: [ring.entry.addr], account: { user: "bob", password } });
  const smtp = await SmtpClient.connect(ring.entry.smtp);
  const mail =
    "Subject: lunch\u001b[2J\r\nFrom: Bob <bob@ring.test>\r\n\r\nAt noon?\u001b]0;owned\u0007\r\n";
  await smtp.send({ from: `bob@${domain}`, to: [`alice@${domain}`] }, Buffer.from(mail));
  smtp.destroy();
  const one = opened({}, ring.entry.addr);
  await one.shows(/⏎ log in/);
  one.type(`${password}\r`);
  await one.shows(/● .* Bob <bob@ring\.test> +lunch/);
  one.type("\r");
  await one.shows(/Subject: lunch[^]*At noon\?\^\[\]0;owned\^G/);
  one.type("r");
  await one.shows(/To +bob@ring\.test/);
  one.type("Yes!\u0018");
  await one.shows(/Sent\./);
  one.type("4n");
  await one.shows(/With:/);
  one.type("bob@ring.test\r");
  await one.shows(/⏎ send/);
  one.type("Hello Bob\r");
  await one.shows(/Hello Bob {2}\d\d:\d\d/);
  try {
    const chat = await bob.chats.open("alice@ring.test");
    await chat.send("Hi Alice");
    // Nobody presses a key: it comes by itself, and so do the ticks.
    await one.shows(/│ +Hi Alice {2}\d\d:\d\d/);
    await one.shows(/Hello Bob {2}\d\d:\d\d ✓/);
    const [answer] = (await bob.mailbox.list("inbox")).filter(({ subject }) =>
      /^Re: /.test(subject),
    );
    expect(answer?.from).toMatch(/alice@ring\.test/);
  } finally {
    await bob.close();
  }
  one.type(ctrlC);
  expect(await one.ended()).toBe(0);
  expect(one.isAsBefore).toBe(true);
  expect(one.output).not.toMatch(/\u001b\]|\u0007/);
});

test("a new user: the outbox, a contact, a deleted mail, and a chat that is told elsewhere", async () => {
  const ring = await scope.start({ members: 1 });
  await ring.addUsers(["alice", "bob"]);
  const bob = await connect({ servers: [ring.entry.addr], account: { user: "bob", password } });
  try {
    await bob.mailbox.send({ to: [`alice@${domain}`], subject: "first", text: "1" });
    const one = opened({}, ring.entry.addr);
    await one.shows(/⏎ log in/);
    one.type(`${password}\r`);
    await one.shows(/● .*first/);
    one.type("d");
    await one.shows(/Delete .*\?/i);
    one.type("y");
    await one.shows(/No mail\./);
    one.type("3");
    await one.shows(/No contacts/i);
    one.type("a");
    one.type("bob@ring.test Bob\r");
    await one.shows(/Bob +bob@ring\.test/);
    await (await bob.chats.open(`alice@${domain}`)).send("are you there?");
    await one.shows(/bob@ring\.test: are you there\?/);
    one.type("4");
    await one.shows(/bob@ring\.test +are you there\?|are you there\?/);
    one.type("2");
    await one.shows(/No mail\./);
    one.type(ctrlC);
    expect(await one.ended()).toBe(0);
    expect(await bob.mailbox.list("outbox")).toHaveLength(1);
  } finally {
    await bob.close();
  }
});
