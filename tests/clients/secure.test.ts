/** Programs that hand in and fetch mail with TLS and AUTH, over a ring of three. */
import { beforeAll, describe, expect, test } from "vitest";
import { makeCertificate } from "../support/certificate.js";
import { chordOk } from "../support/chord.js";
import { fetchAll } from "../support/pop3-client.js";
import { needProgram } from "../support/process.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { secureFetchers } from "../support/secure-fetchers.js";
import { submitters, wantsToken } from "../support/submitters.js";

const scope = ringScope("file");
let ring: Ring;
/** It signs itself, so it is its own authority. */
const { certPath: caFile, keyPath } = makeCertificate();
const tokens = new Map<string, string>();

beforeAll(async () => {
  const args = ["--tls-cert", caFile, "--tls-key", keyPath];
  ring = await scope.start({ members: 3, replicas: 2, args });
  await ring.addUsers(["alice", "bob", "carol"]);
});

let mailNumber = 0;
function aMail(name: string): Buffer {
  mailNumber += 1;
  const header = [
    `From: alice@${domain}`,
    `To: bob@${domain}`,
    `Subject: ${name}`,
    "Date: Sat, 21 Nov 2026 12:00:00 +0000",
    `Message-ID: <${mailNumber}.secure@${domain}>`,
  ];
  return Buffer.from(`${header.join("\r\n")}\r\n\r\none\r\n..two dots\r\nend\r\n`);
}

/** A session token, made at one member for all. */
async function tokenOf(name: string): Promise<string> {
  const known = tokens.get(name);
  if (known !== undefined) return known;
  const args = ["session", "create", name, "--entry", ring.entry.addr, "--password-stdin"];
  const said = await chordOk(args, { stdin: `${password}\n` });
  const token = said.trim();
  tokens.set(name, token);
  return token;
}

const bodies = async (user: string): Promise<string[]> => {
  const got = await fetchAll(ring.member(0).pop3, user, password);
  return got.map(({ bytes }) => bytes.toString("latin1"));
};

const ways = ["STARTTLS", "TLS from the first octet"];

describe.each(submitters)("$name submits", ({ name, program, methods, submit }) => {
  test.each(ways.flatMap((way) => methods.map((method) => [way, method] as const)))(
    "by %s and %s",
    async (way, method) => {
      if (program !== undefined) needProgram({ skip: (note) => expect.fail(note) }, program);
      const implicit = way !== ways[0];
      const member = ring.member(mailNumber % 3);
      const mail = aMail(`${name} ${way} ${method}`);
      const secret = wantsToken(method) ? await tokenOf("alice") : password;
      const at = implicit ? member.submissions : member.submission;
      const who = { user: `alice@${domain}`, password: secret };
      const envelope = { from: `alice@${domain}`, to: `bob@${domain}` };
      await submit({ at, implicit, caFile, mail, ...who, ...envelope }, method);
      const arrived = mail.toString("latin1");
      expect((await bodies("bob")).filter((body) => body.endsWith(arrived))).toHaveLength(1);
      const sent = await bodies(`alice@${domain}/outbox`);
      expect(sent.filter((body) => body.endsWith(arrived))).toHaveLength(1);
    },
  );
});

describe.each(secureFetchers)("$name fetches", ({ program, methods, only, fetch }) => {
  const offered = ways.filter(
    (_, index) => only === undefined || (only === "implicit") === (index === 1),
  );
  test.each(offered.flatMap((way) => methods.map((method) => [way, method] as const)))(
    "by %s and %s",
    async (way, method) => {
      if (program !== undefined) needProgram({ skip: (note) => expect.fail(note) }, program);
      const implicit = way !== ways[0];
      const member = ring.member(2);
      const at = implicit ? member.pop3s : member.pop3;
      const secret = wantsToken(method) ? await tokenOf("bob") : password;
      const job = { at, implicit, caFile, user: "bob", password: secret };
      const got = await fetch(job, method);
      const texts = got.map((bytes) => bytes.toString("latin1"));
      expect(texts.sort()).toEqual((await bodies("bob")).sort());
    },
  );
});
