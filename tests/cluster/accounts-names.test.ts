/** Aliases, domains and disabled accounts: agreed on by the ring, in force at every node at once. */
import { beforeAll, describe, expect, test } from "vitest";
import { chord, chordOk } from "../support/chord.js";
import type { Member } from "../support/member.js";
import { fetchAll } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail, SmtpClient, type SmtpReply } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2, args: ["--trial", "on"] });
  await ring.addUsers(["ann", "bob", "cyd"]);
});

async function replyTo(member: Member, address: string): Promise<string> {
  const client = await SmtpClient.connect(member.smtp);
  try {
    await client.expect(250, "MAIL FROM:<> SMTPUTF8");
    const reply: SmtpReply = await client.command(Buffer.from(`RCPT TO:<${address}>\r\n`));
    return reply.lines.join();
  } finally {
    client.destroy();
  }
}

/** The same at every node, from the first question on. */
async function everywhere(address: string, reply: RegExp): Promise<void> {
  for (const member of ring.members) expect(await replyTo(member, address)).toMatch(reply);
}

const send = (member: Member, to: string, subject: string): Promise<string> =>
  sendMail(
    member.smtp,
    { from: "sender@example.org", to: [to] },
    Buffer.from(`Subject: ${subject}\r\n\r\nbody\r\n`),
  );

async function subjects(member: Member, name: string): Promise<string[]> {
  const mails = await fetchAll(member.pop3, name, password);
  return mails.map(({ bytes }) => /^Subject: (.*?)\r$/m.exec(bytes.toString())?.[1] ?? "").sort();
}

const through = (member: Member, ...args: string[]): Promise<string> =>
  chordOk([...args, "--entry", member.addr]);

describe("an alias", () => {
  test("made at one node leads mail at every node to each of its targets, once", async () => {
    const [a, b, c] = [ring.member(0), ring.member(1), ring.member(2)];
    await everywhere(`team@${domain}`, /^550 5\.1\.1 /);
    await through(a, "alias", "add", "Sales", "ann", "bob");
    await through(b, "alias", "add", "team", "sales", "ann", "cyd");
    await everywhere(`team@${domain}`, /^250 /);
    await send(c, `TEAM+x@${domain}`, "to the team");
    for (const name of ["ann", "bob", "cyd"]) {
      expect(await subjects(a, name)).toEqual(["to the team"]);
    }
    expect(await through(c, "alias", "list")).toMatch(
      new RegExp(`^sales@${domain} +ann@${domain} bob@${domain}$`, "m"),
    );
    expect(await through(c, "user", "list")).toBe(
      ["ann", "bob", "cyd"].map((name) => `${name}@${domain}\n`).join(""),
    );
    await through(c, "alias", "remove", "team");
    await everywhere(`team@${domain}`, /^550 5\.1\.1 /);
  });

  test.each([1, 2, 3])("and an account of one name at once: at most one (%i)", async (round) => {
    const name = `twin-${round}`;
    const [first, second] = [ring.member(round % 3), ring.member((round + 1) % 3)];
    const answers = await Promise.allSettled([
      admin(first.addr, "userAdd", { name, password }),
      admin(second.addr, "aliasAdd", { alias: name, targets: ["ann"] }),
    ]);
    const [isUser, isAlias] = answers.map(({ status }) => status === "fulfilled");
    expect([isUser, isAlias].filter(Boolean), JSON.stringify(answers)).toHaveLength(1);
    for (const member of ring.members) {
      const { users } = await admin(member.addr, "userList", {});
      const { aliases } = await admin(member.addr, "aliasList", {});
      expect(users.includes(`${name}@${domain}`)).toBe(isUser);
      expect(aliases.some(({ alias }) => alias === `${name}@${domain}`)).toBe(isAlias);
      expect(await replyTo(member, `${name}@${domain}`)).toMatch(/^250 /);
    }
  });

  test("two that are made at once and lead to each other: refused, or a loop, and no storm", async () => {
    await through(ring.member(0), "alias", "add", "ping", "ann");
    await through(ring.member(0), "alias", "add", "pong", "ann");
    const answers = await Promise.allSettled([
      admin(ring.member(0).addr, "aliasAdd", { alias: "ping", targets: ["pong"] }),
      admin(ring.member(1).addr, "aliasAdd", { alias: "pong", targets: ["ping"] }),
    ]);
    const made = answers.filter(({ status }) => status === "fulfilled").length;
    await everywhere(`ping@${domain}`, made === 2 ? /^550 5\.4\.6 / : /^250 /);
  });
});

describe("a domain", () => {
  test("is served by every node from its adding to its removal", async () => {
    const [a, b, c] = [ring.member(0), ring.member(1), ring.member(2)];
    await everywhere("ann@bücher.example", /^550 5\.7\.1 /);
    await through(a, "domain", "add", "BÜCHER.example");
    await everywhere("ann@bücher.example", /^550 5\.1\.1 /);
    const name = "ann@bücher.example";
    await chordOk(["user", "add", name, "--entry", b.addr, "--password-stdin"], {
      stdin: `${password}\n`,
    });
    await everywhere("ann@xn--bcher-kva.example", /^250 /);
    await send(c, "ann@xn--bcher-kva.example", "to another ann");
    expect(await subjects(a, "ann@xn--bcher-kva.example")).toEqual(["to another ann"]);
    expect(await subjects(a, "ann")).not.toContain("to another ann");

    const refused = await chord(["domain", "remove", "bücher.example", "--entry", b.addr]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("ann@xn--bcher-kva.example");
    await through(b, "domain", "remove", "bücher.example", "--force");
    await everywhere("ann@bücher.example", /^550 5\.7\.1 /);
    expect(await subjects(c, "ann@xn--bcher-kva.example")).toEqual(["to another ann"]);
  });

  test("has a catch-all for what is neither account nor alias", async () => {
    const [a, b, c] = [ring.member(0), ring.member(1), ring.member(2)];
    await through(a, "domain", "add", "catch.test");
    await through(b, "alias", "add", "@catch.test", "cyd");
    await send(c, "whoever@catch.test", "caught");
    expect(await subjects(b, "cyd")).toContain("caught");
    await everywhere(`whoever@${domain}`, /^550 5\.1\.1 /);
  });
});

test("a disabled account gets no mail and no login, at any node, until it is enabled", async () => {
  const [a, b] = [ring.member(0), ring.member(1)];
  await everywhere(`bob@${domain}`, /^250 /);
  await through(a, "user", "disable", "bob");
  await everywhere(`bob@${domain}`, /^550 5\.2\.1 /);
  expect(await through(b, "user", "show", "bob")).toMatch(/state +disabled/);
  for (const member of ring.members) {
    await expect(subjects(member, "bob")).rejects.toThrow(/-ERR \[AUTH\]/);
  }
  await through(b, "user", "enable", "bob");
  for (const member of ring.members) await subjects(member, "bob");
  await everywhere(`bob@${domain}`, /^250 /);
});

describe("on trial", () => {
  test("recipients fail on purpose", async () => {
    await everywhere(`temperror@${domain}`, /^451 4\.3\.0 /);
    await everywhere(`permerror@${domain}`, /^550 5\.1\.1 /);
    await everywhere(`timeout@${domain}`, /^250 /);
  });

  test("the data of a mail to timeout is not answered, and does not hold up the node's end", async () => {
    const member = ring.member(2);
    const silent = await SmtpClient.connect(member.smtp);
    await silent.expect(250, "MAIL FROM:<>");
    await silent.expect(250, `RCPT TO:<timeout@${domain}>`);
    await silent.expect(354, "DATA");
    let answered = false;
    const reply = silent.command("Subject: x\r\n\r\nbody\r\n.").then(
      ({ lines }) => {
        answered = true;
        return lines.join();
      },
      () => "the connection ended",
    );
    // Whole mails pass meanwhile.
    for (let n = 0; n < 20; n += 1) await send(member, `ann@${domain}`, `beside ${n}`);
    expect(answered).toBe(false);
    const exit = await member.kill("SIGTERM");
    expect(exit?.code).toBe(0);
    expect(await reply).toMatch(/^4\d\d |^the connection ended$/);
    await member.restart();
    await ring.settled();
    await ring.copiesEqual(["ann"]);
  });
});

// Last, since it stops members.
test("while too few answer, nobody is told that a domain or an alias is not ours", async () => {
  const [left, ...down] = ring.members;
  if (!left) throw new Error("no member");
  await through(left, "domain", "add", "third.test");
  await Promise.all(down.map((member) => member.kill("SIGKILL")));
  for (const address of ["x@third.test", "x@example.org", `nobody@${domain}`, `sales@${domain}`]) {
    await waitUntil(async () => /^451 4\.3\.0 /.test(await replyTo(left, address)), {
      deadlineMs: 60_000,
      what: `451 for ${address}`,
    });
  }
  const refused = await chord(["domain", "add", "fourth.test", "--entry", left.addr]);
  expect(refused.code).toBe(1);
  await ring.restartAll(down);
  await ring.settled();
  await waitUntil(async () => /^550 5\.7\.1 /.test(await replyTo(left, "x@example.org")), {
    deadlineMs: 60_000,
    what: "the majority to answer again",
  });
});
