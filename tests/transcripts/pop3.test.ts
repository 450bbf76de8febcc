/**
 * Dialogues of `pop3/*.txt`, replayed line by line over a socket.
 *
 *   # comment            with: CONDITION    what goes wrong, see `conditions`
 *   C: line sent         \xNN is an octet; the line end is CRLF
 *   S: line expected     a `*` at the end stands for any text; `S: <end>`: the server closes
 *   = alice 2            the mails that alice's maildrop has when all is over
 */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createPop3Server, type Maildrop } from "../../src/pop3/index.js";
import { MemoryMaildrops, TestClient } from "./pop3-support.js";

const folder = new URL("./pop3/", import.meta.url);

const mails = [
  "Subject: one\r\n\r\nfirst\r\n",
  "Subject: two\r\n\r\n.dot\r\n..\r\nlast\r\n",
  "Subject: three\r\n\r\n1\r\n2\r\n3\r\n",
];

const lost = new AbortController();
lost.abort();

const conditions: Record<string, (maildrop: Maildrop) => Maildrop> = {
  "commit fails": (maildrop) => ({
    ...maildrop,
    commit: async () => ({ kind: "tempfail", why: "too few copies" }),
  }),
  "commit throws": (maildrop) => ({
    ...maildrop,
    commit: () => Promise.reject(new Error("disk on fire")),
  }),
  "lock is lost": (maildrop) => ({ ...maildrop, lost: lost.signal }),
  "messages can't be read": (maildrop) => ({
    ...maildrop,
    retrieve: () => Promise.reject(new Error("disk on fire")),
  }),
};

function fixture(): MemoryMaildrops {
  const maildrops = new MemoryMaildrops();
  maildrops.add("alice", "secret", mails);
  maildrops.add("empty", "secret", []);
  maildrops.add("spaces", " two  words ", []);
  maildrops.add("grün", "schlüssel", []);
  maildrops.add("busy", "secret", mails);
  maildrops.open.add("busy");
  return maildrops;
}

function octetsOf(text: string): Buffer {
  const octets = text.replace(/\\x([0-9a-f]{2})/gi, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(`${octets}\r\n`, "latin1");
}

async function replay(line: string, client: TestClient, maildrops: MemoryMaildrops): Promise<void> {
  const [mark, rest] = [line.slice(0, 3), line.slice(3)];
  if (line.startsWith("with: ")) {
    const condition = conditions[line.slice(6)];
    if (condition === undefined) throw new Error(`no such condition: ${line}`);
    maildrops.change = condition;
  } else if (line.startsWith("= ")) {
    const [, user = "", count] = line.split(" ");
    client.socket.destroy();
    expect(maildrops.mails.get(user)).toHaveLength(Number(count));
  } else if (mark === "C: ") {
    client.send(octetsOf(rest));
  } else if (line === "S: <end>") {
    expect(await client.rest()).toBe("");
  } else if (mark === "S: ") {
    const got = (await client.line()).slice(0, -2);
    if (rest.endsWith("*"))
      expect(got.startsWith(rest.slice(0, -1)), `${got} / ${line}`).toBe(true);
    else expect(got).toBe(rest);
  } else {
    throw new Error(`not a line of a transcript: ${line}`);
  }
}

test.each(readdirSync(folder).filter((name) => name.endsWith(".txt")))("%s", async (name) => {
  const maildrops = fixture();
  const server = createPop3Server({ onAuth: maildrops.onAuth, name: "test" });
  const { port } = await server.listen({ port: 0, host: "127.0.0.1" });
  const client = new TestClient(port);
  try {
    const lines = readFileSync(new URL(name, folder), "utf8").split("\n");
    for (const line of lines) {
      if (line !== "" && !line.startsWith("#")) await replay(line, client, maildrops);
    }
  } finally {
    client.socket.destroy();
    await server.close();
  }
  expect([...maildrops.open]).toEqual(["busy"]);
});
