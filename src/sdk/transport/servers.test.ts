import { expect, test } from "vitest";
import type { ServerEndpoints } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { endpointsOf, knownServers } from "./endpoints.js";
import { TransportError } from "./failure.js";
import { Servers } from "./servers.js";

function setup(count: number) {
  let nowMs = 1_000;
  const said: string[] = [];
  const closing = new AbortController();
  const servers = new Servers({
    endpoints: Array.from({ length: count }, (_, n) => endpointsOf(`host${n}:5000`)),
    nowMs: () => nowMs,
    onFailover: ({ from, to }) => said.push(`${from} -> ${to}`),
    onStatus: (state) => said.push(state),
    signal: closing.signal,
  });
  const tried: string[] = [];
  /** Uses the servers, of which some are down. */
  const use = (...down: string[]): Promise<string> =>
    servers.attempt(({ smtp }) => {
      tried.push(smtp);
      return down.includes(smtp)
        ? Promise.reject(new TransportError(`${smtp}: down`))
        : Promise.resolve(smtp);
    });
  return { servers, said, tried, use, closing, pass: (ms: number) => void (nowMs += ms) };
}

const [first, second, third] = ["host0:5025", "host1:5025", "host2:5025"];

test("the next server in order takes over, and stays in use", async () => {
  const { use, said, tried } = setup(3);
  expect(await use(first)).toBe(second);
  expect(await use()).toBe(second);
  expect(tried).toEqual([first, second, second]);
  expect(said).toEqual([`${first} -> ${second}`, "connected"]);
});

test("who failed rests: it is not asked before others, and again after its rest", async () => {
  const { use, tried, pass } = setup(3);
  await use(first, second);
  tried.length = 0;
  // The one in use fails as well; those that rest come last, in order.
  expect(await use(third)).toBe(first);
  expect(tried).toEqual([third, first]);
  pass(60_000);
  tried.length = 0;
  expect(await use()).toBe(first);
});

test("when none answers each is tried twice, then it is said", async () => {
  const { use, tried, said } = setup(2);
  const failure = use(first, second);
  await expect(failure).rejects.toMatchObject({ code: "unreachable", retryable: true });
  expect(tried).toEqual([first, second, first, second]);
  expect(said).toEqual(["offline"]);
  expect(await use()).toBeDefined();
  expect(said).toContain("connected");
});

test("an answer that is an error is the answer: no other server is asked", async () => {
  const { servers } = setup(2);
  let asked = 0;
  const refusal = new RingpostError("denied", "wrong password", false);
  const use = servers.attempt(() => {
    asked += 1;
    return Promise.reject(refusal);
  });
  await expect(use).rejects.toBe(refusal);
  expect(asked).toBe(1);
});

test("nothing more is tried once the client is closed", async () => {
  const { servers, closing } = setup(3);
  let asked = 0;
  const use = servers.attempt(() => {
    asked += 1;
    closing.abort();
    return Promise.reject(new TransportError("cut"));
  });
  await expect(use).rejects.toMatchObject({ code: "closed" });
  expect(asked).toBe(1);
});

test("a port in an error that nobody named is explained", async () => {
  const { endpoints, derivedFrom } = knownServers([
    "host0:5000",
    { smtp: "mx:25", pop3: "mx:110" },
  ]);
  const servers = (which: readonly ServerEndpoints[]) =>
    new Servers({
      ...{ endpoints: which, derivedFrom, nowMs: () => 0, signal: new AbortController().signal },
      ...{ onFailover: () => undefined, onStatus: () => undefined },
    });
  const down = ({ smtp }: ServerEndpoints) => Promise.reject(new TransportError(`${smtp}: down`));
  await expect(servers(endpoints.slice(0, 1)).attempt(down)).rejects.toThrow(
    "host0:5025: down; this port is derived from host0:5000: where it is another, name smtp and pop3",
  );
  await expect(servers(endpoints.slice(1)).attempt(down)).rejects.toThrow(/mx:25: down$/);
});

test("members that the ring names are added once, behind the others", () => {
  const { servers } = setup(1);
  const news = [endpointsOf("ringpost://host9:5000"), endpointsOf("host0:5000")];
  servers.learn(news);
  servers.learn(news);
  expect(servers.all.map(({ smtp }) => smtp)).toEqual([first, "host9:5025"]);
});

test("endpoints by the rule of default ports", () => {
  expect(endpointsOf("ringpost://[::1]:5000")).toEqual({
    smtp: "[::1]:5025",
    submission: "[::1]:5587",
    submissions: "[::1]:5465",
    pop3: "[::1]:5110",
    pop3s: "[::1]:5995",
  });
});

test("a ring port that leaves none for a mail port is refused, and said why", () => {
  expect(() => endpointsOf("host:65000")).toThrow(
    'servers: "host:65000" leaves no port for submission (65000 + 587 is over 65535)',
  );
  expect(() => endpointsOf({ smtp: "host:25", pop3: "host:65536" })).toThrow(
    'servers: pop3 "host:65536" is not host:port',
  );
});

test.each(["", "host", "http://host:5000", "host:0", "host:99999", "a b:1"])(
  "no server: %j",
  (text) => {
    expect(() => endpointsOf(text)).toThrow(RingpostError);
  },
);
