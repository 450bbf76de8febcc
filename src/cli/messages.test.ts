import { describe, expect, test } from "vitest";
import { main } from "./main.js";
import { FakeRing } from "./test-ringpost.js";
import { fakeWorld } from "./testing.js";

async function run(ring: FakeRing, words: readonly string[], stdin: string) {
  const world = fakeWorld({ stdin, ringpost: ring.connect });
  const own = ["--user", "alice", "--server", "127.0.0.1:5000", "--password-stdin"];
  const code = await main([...words, ...own], world);
  return { code, ...world, out: Buffer.concat(world.written).toString() };
}
const password = "wonderland\n";

describe("pub and push", () => {
  test.each([
    ["an argument", ["pub", "news", "hello"], password, "hello"],
    ["stdin", ["pub", "news", "-"], `${password}one\ntwo\r\n`, "one\ntwo\r\n"],
    ["stdin without being told", ["push", "jobs"], `${password}x`, "x"],
    ["nothing", ["push", "jobs", "-"], password, ""],
  ])("the body from %s, byte for byte", async (_from, words, stdin, body) => {
    const ring = new FakeRing();
    const { code, stdoutLines, stderrLines } = await run(ring, words, stdin);
    expect(stderrLines).toEqual([]);
    expect(code).toBe(0);
    expect(stdoutLines).toEqual(["m1"]);
    expect(ring.sent.map(({ to, bytes }) => [to, bytes.toString()])).toEqual([[words[1], body]]);
    expect(ring.calls).toEqual(["close"]);
  });

  test("key, headers and ttl go along", async () => {
    const ring = new FakeRing();
    const more = ["--key", "a.b", "--header", "x=1", "--header", "y=a=b", "--ttl", "1h"];
    await run(ring, ["pub", "news", "hi", ...more], password);
    expect(ring.sent[0]?.options).toMatchObject({
      ...{ key: "a.b", ttlMs: 3_600_000, headers: { x: "1", y: "a=b" } },
    });
  });

  test("each line is a message, an empty one and the last without its end, too", async () => {
    const ring = new FakeRing();
    const lines = Array.from({ length: 600 }, (_, n) => `line ${n}`);
    const stdin = `${password}${lines.join("\n")}\n\nlast`;
    const { code, stdoutLines } = await run(ring, ["push", "jobs", "--lines"], stdin);
    expect(code).toBe(0);
    expect(ring.sent.map(({ bytes }) => bytes.toString())).toEqual([...lines, "", "last"]);
    expect(stdoutLines).toHaveLength(602);
  });

  test("what the ring does not confirm in time is an error", async () => {
    const ring = new FakeRing();
    ring.isDeaf = true;
    const { code, stderrLines } = await run(ring, ["pub", "e", "x", "--timeout", "1s"], password);
    expect(code).toBe(1);
    expect(stderrLines.join()).toMatch(/not confirmed it within 1 s; it may or may not/);
    expect(ring.calls).toEqual(["close"]);
  });

  test.each([
    ["a wrong password", ["pub", "e", "x"], "wrong\n", 1, /wrong name or password/],
    ["no password", ["pub", "e", "x"], "\n", 2, /the password is empty/],
    ["a header that is none", ["pub", "e", "x", "--header", "x"], password, 2, /name=value/],
    ["a body and --lines", ["push", "q", "x", "--lines"], password, 2, /takes the lines of stdin/],
    ["a time that is none", ["pub", "e", "x", "--ttl", "5"], password, 2, /from 1s to 7d/],
    ["a count that is none", ["pull", "q", "--count", "0"], password, 2, /from 1 to 1000000/],
    ["too many to hold", ["pull", "q", "--count", "999"], password, 2, /without --ack, at most/],
  ])("%s is one line on stderr", async (_what, words, stdin, exit, line) => {
    const { code, stdoutLines, stderrLines, out } = await run(new FakeRing(), words, stdin);
    expect(code).toBe(exit);
    expect(stderrLines).toHaveLength(1);
    expect(stderrLines[0]).toMatch(line);
    expect([...stdoutLines, out]).toEqual([""]);
  });

  test("named mail ports replace the derived ones, TLS from the first octet included", async () => {
    const ring = new FakeRing();
    await run(ring, ["pub", "e", "x", "--smtp", "mx:25", "--pop3", "mx:110"], password);
    const submit = { submission: "127.0.0.1:5587", submissions: "127.0.0.1:5465" };
    expect(ring.connected[0]?.servers).toEqual([{ ...submit, smtp: "mx:25", pop3: "mx:110" }]);
    const half = new FakeRing();
    await run(half, ["pub", "e", "x", "--smtp", "mx:25"], password);
    const fetch = { pop3: "127.0.0.1:5110", pop3s: "127.0.0.1:5995" };
    expect(half.connected[0]?.servers).toEqual([{ ...submit, ...fetch, smtp: "mx:25" }]);
  });

  test.each([
    ["no port", ["--smtp", "mx"], /--smtp mx: must be host:port/],
    ["two members", ["--pop3", "mx:110", "--server", "b:1"], /--pop3 is a port of one member/],
    ["any member", ["--pop3", "mx:110", "--server", "auto"], /--pop3 is a port of one member/],
  ])("a mail port of %s is wrong usage", async (_what, words, says) => {
    const { code, stderrLines } = await run(new FakeRing(), ["pub", "e", "x", ...words], password);
    expect(code).toBe(2);
    expect(stderrLines.join()).toMatch(says);
  });

  test("without a terminal, a body on stdin needs the password there, too", async () => {
    const world = fakeWorld({ stdin: "body", ringpost: new FakeRing().connect });
    expect(await main(["pub", "e", "-", "--user", "alice", "--server", "a:1"], world)).toBe(2);
    expect(world.stderrLines.join()).toMatch(/first line of stdin with --password-stdin/);
  });
});

describe("sub and pull", () => {
  const some = (...texts: string[]): FakeRing => {
    const ring = new FakeRing();
    ring.waiting.push(...texts.map((text) => Buffer.from(text)));
    return ring;
  };

  test("sub prints so many, one line each, and acknowledges what is printed", async () => {
    const ring = some("one", "two\nlines\u001b[2J", "three");
    const { code, out } = await run(
      ring,
      ["sub", "news", "--count", "2", "--key", "a.#"],
      password,
    );
    expect(code).toBe(0);
    expect(out).toBe("one\ntwo lines^[[2J\n");
    expect(ring.settled).toEqual(["ack one", "ack two\nlines\u001b[2J"]);
    expect(ring.calls).toEqual(["subscribe news a.#", "close"]);
  });

  test("sub ends its subscription when told to", async () => {
    const ring = some("x");
    await run(ring, ["sub", "news", "--count", "1", "--unsubscribe"], password);
    expect(ring.calls).toEqual(["subscribe news", "unsubscribe news", "close"]);
  });

  test("pull without --ack gives back what it shows, all at the end", async () => {
    const ring = some("a", "b");
    const { code, out } = await run(ring, ["pull", "jobs", "--count", "2"], password);
    expect([code, out]).toEqual([0, "a\nb\n"]);
    expect(ring.settled).toEqual(["nack a", "nack b"]);
  });

  test("fewer than asked is exit code 1, and what came is printed and settled", async () => {
    const ring = some("a");
    const words = ["pull", "jobs", "--count", "2", "--ack", "--timeout", "1s"];
    const { code, out, stderrLines } = await run(ring, words, password);
    expect([code, out]).toEqual([1, "a\n"]);
    expect(stderrLines).toEqual(["chord: only 1 of 2 came within 1s"]);
    expect(ring.settled).toEqual(["ack a"]);
  });

  test("--raw is byte for byte, --json tells everything", async () => {
    const octets = Buffer.from([0, 255, 10, 13]);
    const raw = new FakeRing();
    raw.waiting.push(octets);
    const { written } = await run(raw, ["pull", "jobs", "--raw", "--ack"], password);
    expect(Buffer.concat(written)).toEqual(octets);
    const json = new FakeRing();
    json.waiting.push(octets, Buffer.from("é\n"));
    const { out } = await run(json, ["pull", "jobs", "--json", "--count", "2", "--ack"], password);
    const lines = out.split("\n");
    expect(lines).toHaveLength(3);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ bodyBase64: octets.toString("base64") });
    expect(JSON.parse(lines[1] ?? "")).toEqual({
      ...{ id: "m1", from: "bob@ring.test", sentAt: "2026-11-21T17:00:00.000Z", stream: "main" },
      ...{ sequence: 7, exchange: "jobs", routingKey: "a.b", headers: { n: 1 }, redelivered: 0 },
      ...{ contentType: "text/plain", body: "é\n" },
    });
  });
});
