import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { answerLimits, createAnswerer } from "./answers.js";
import {
  datagramOctets,
  discoveryPort,
  type FoundMember,
  readAnswer,
  readQuestion,
  writeAnswer,
  writeQuestion,
} from "./message.js";
import { broadcastOf, isOn, listeningNetworks, type Network } from "./networks.js";

const member: FoundMember = {
  ring: "0".repeat(32),
  ...{ domain: "ring.test", bits: 160, replicas: 2, addr: "10.0.0.1:5000" },
  ...{ smtp: "10.0.0.1:25", pop3: "[fd00::1]:110", pop3s: "mail.ring.test:995" },
};
const nonce = "ab".repeat(16);
const lan: Network = { address: "10.0.0.1", netmask: "255.255.255.0", isLoopback: false };
const neighbour = { address: "10.0.0.7", port: 40_000 };
const answerer = () => createAnswerer(member, (address) => isOn([lan], address));
const ask = (domain?: string) => writeQuestion({ nonce, ...(domain !== undefined && { domain }) });

describe("who is answered", () => {
  test.each([
    ["a neighbour", ask(), neighbour, true],
    ["a neighbour who looks for this domain", ask("ring.test"), neighbour, true],
    ["one who looks for another", ask("other.test"), neighbour, false],
    ["one from afar", ask(), { address: "10.0.1.7", port: 40_000 }, false],
    ["no address", ask(), { address: "::1", port: 40_000 }, false],
    ["a port of the system (DNS), forged", ask(), { ...neighbour, port: 53 }, false],
    ["another member, forged", ask(), { ...neighbour, port: discoveryPort }, false],
    ["a short question", ask().subarray(0, 200), neighbour, false],
    ["a question that is an answer", writeAnswer(nonce, member), neighbour, false],
    ["another version", Buffer.from(ask().toString().replace(":1", ":2")), neighbour, false],
    [
      "a nonce that is no text",
      Buffer.from(ask().toString().replace('"ab', '["')),
      neighbour,
      false,
    ],
  ])("%s", (_who, datagram, from, isAnswered) => {
    const answer = answerer().answer(datagram ?? Buffer.alloc(0), from, 0);
    expect(answer !== undefined).toBe(isAnswered);
  });

  test("any datagram: silence, or an answer that is no longer than it", () => {
    const one = answerer();
    const octets = fc.uint8Array({ maxLength: 1_500 });
    const near = octets.map((noise) => {
      const question = ask();
      question.set(noise.subarray(0, 3), (noise[3] ?? 0) % 100);
      return new Uint8Array(question);
    });
    fc.assert(
      fc.property(fc.oneof(octets, near), fc.nat(100_000), (datagram, nowMs) => {
        const answer = one.answer(datagram, neighbour, nowMs);
        expect(answer?.length ?? 0).toBeLessThanOrEqual(datagram.length);
      }),
      { numRuns: 2_000 },
    );
  });

  test("a member with names too long for an answer keeps silent", () => {
    const long = { ...member, smtp: `${"a".repeat(1_200)}:25` };
    expect(createAnswerer(long, () => true).answer(ask(), neighbour, 0)).toBeUndefined();
  });
});

describe("a flood", () => {
  const count = (addresses: number, nowMs: number, one = answerer()): number => {
    let answered = 0;
    for (let n = 0; n < 5_000; n += 1) {
      const from = { address: `10.0.0.${n % addresses}`, port: 40_000 };
      if (one.answer(ask(), from, nowMs) !== undefined) answered += 1;
    }
    return answered;
  };

  test("of one address, and of many, is answered so often a second", () => {
    expect(count(1, 0)).toBe(answerLimits.perAddressPerSecond);
    expect(count(250, 0)).toBe(answerLimits.perSecond);
  });

  test("ends with its second", () => {
    const one = answerer();
    count(250, 999, one);
    expect(one.answer(ask(), neighbour, 999)).toBeUndefined();
    expect(one.answer(ask(), neighbour, 1_000)).toBeDefined();
  });
});

describe("what is told is read only if it answers this question and has the right shape", () => {
  const told = writeAnswer(nonce, member) ?? Buffer.alloc(0);
  const changed = (change: object) =>
    Buffer.from(JSON.stringify({ ...(JSON.parse(told.toString()) as object), ...change }));

  test("as told", () => {
    expect(readAnswer(told, nonce)).toEqual(member);
    expect(readQuestion(ask("a.b"))).toEqual({ nonce, domain: "a.b" });
    expect(ask("a.b")).toHaveLength(datagramOctets);
  });

  test.each([
    ["another nonce", { nonce: "cd".repeat(16) }],
    ["no address", { addr: "10.0.0.1" }],
    ["a port of 0", { smtp: "10.0.0.1:0" }],
    ["a line end in a name", { pop3: "a\r\nb:110" }],
    ["an address that is none", { pop3: "[fd00::1::2]:110" }],
    ["a domain with a control character", { domain: "ring\u001b.test" }],
    ["bits that are text", { bits: "160" }],
    ["bits that are too many", { bits: 161 }],
    ["no ring", { ring: undefined }],
    ["more octets than a question", { more: "x".repeat(1_200) }],
  ])("%s", (_what, change) => {
    expect(readAnswer(changed(change), nonce)).toBeUndefined();
  });

  test("a listener of a wrong shape is left out", () => {
    const { pop3s: _, ...others } = member;
    expect(readAnswer(changed({ pop3s: "off" }), nonce)).toEqual(others);
  });
});

describe("networks", () => {
  const loopback: Network = { address: "127.0.0.1", netmask: "255.0.0.0", isLoopback: true };
  const other: Network = {
    address: "192.168.7.130",
    netmask: "255.255.255.128",
    isLoopback: false,
  };
  const all = [loopback, lan, other];

  test.each([
    ["127.0.0.1", [loopback]],
    ["localhost", [loopback]],
    ["10.0.0.1", [lan]],
    ["a-name.test", [lan, other]],
  ])("a member at %s listens where it is reached", (host, expected) => {
    expect(listeningNetworks(host, all)).toEqual(expected);
  });

  test("neighbours and broadcast addresses, by the netmask", () => {
    expect(broadcastOf(other)).toBe("192.168.7.255");
    expect(broadcastOf(lan)).toBe("10.0.0.255");
    expect(broadcastOf(loopback)).toBeUndefined();
    expect(broadcastOf({ ...lan, netmask: "255.255.255.254" })).toBeUndefined();
    expect(isOn(all, "192.168.7.129")).toBe(true);
    expect(isOn(all, "192.168.7.127")).toBe(false);
    expect(isOn(all, "127.9.9.9")).toBe(true);
  });
});
