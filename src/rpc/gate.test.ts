/** Who gets in, and who is who: certificates of the ring, of another, of another member, none. */
import { Client, type ClientUnaryCall, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { makeClusterCa } from "../secrets/certificates.js";
import { bounds } from "./bounds.js";
import { createAdminCaller } from "./admin.js";
import { channelCredentials, serverName, type Trust } from "./credentials.js";
import { describeMember, isOfThisMachine, redeemToken } from "./enroll.js";
import { encodeHello, type ReceivedFrame } from "./frame.js";
import { helloOf } from "./identity.js";
import { rpcScope } from "./test-scope.js";
import { adminRun, enrollRedeem, exchangeMethod, ringStep } from "./schema.js";
import type { startServer } from "./testing.js";
import {
  callerCredentials,
  credentialsOf,
  deferred,
  enrollment,
  identity,
  quietLog,
  serverCredentials,
} from "./testing.js";

const { defer, server, transport } = rpcScope();

const patient = { deadlineMs: 30_000 };
const otherCa = await makeClusterCa();

/** A member that notes what reaches it. */
async function member(overrides: Parameters<typeof startServer>[0] = {}) {
  const reached: string[] = [];
  const { addr } = await server({
    onRing: async () => reached.push("ring"),
    onPeerCall: async () => {
      reached.push("call");
      return {};
    },
    onAdmin: async () => reached.push("admin"),
    ...overrides,
  });
  return { addr, reached };
}

function caller(addr: string, trust: Trust): Client {
  const options = { "grpc.ssl_target_name_override": serverName };
  const client = new Client(addr, channelCredentials(trust), options);
  defer(() => client.close());
  return client;
}

type Start = (done: (error: ServiceError | null) => void) => unknown;
const codeOf = (start: Start): Promise<string | undefined> =>
  new Promise((resolve) => {
    start((error) => resolve(error === null ? "OK" : status[error.code]));
  });

/** What becomes of a command, a ring step and a stream, all with the hello of `caller`. */
async function attempts(addr: string, trust: Trust): Promise<(string | undefined)[]> {
  const client = caller(addr, trust);
  const own = identity("caller");
  const run = { version: bounds.protocolVersion, method: "status", argsJson: Buffer.from("{}") };
  const step = { from: helloOf(own), message: Buffer.from("{}") };
  const options = { deadline: Date.now() + patient.deadlineMs };
  const { path, requestSerialize, responseDeserialize } = exchangeMethod;
  return [
    await codeOf((done) =>
      client.makeUnaryRequest(
        ...([adminRun.path, adminRun.requestSerialize, adminRun.responseDeserialize] as const),
        ...([run, new Metadata(), options, done] as const),
      ),
    ),
    await codeOf((done) =>
      client.makeUnaryRequest(
        ...([ringStep.path, ringStep.requestSerialize, ringStep.responseDeserialize] as const),
        ...([step, new Metadata(), options, done] as const),
      ),
    ),
    await codeOf((done) => {
      const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      stream.on("data", ({ hello }: ReceivedFrame) => hello && done(null));
      stream.on("error", done);
      stream.write(encodeHello(helloOf(own), 0));
      defer(() => stream.cancel());
    }),
  ];
}

describe("at the door of a member", () => {
  test("a certificate of the ring with the hello of its member: let in", async () => {
    const { addr, reached } = await member();
    const trust = { kind: "member", credentials: callerCredentials } as const;
    expect(await attempts(addr, trust)).toEqual(["OK", "OK", "OK"]);
    expect(reached).toEqual(["admin", "ring"]);
  });

  test("no certificate: refused, and nothing happens", async () => {
    const { addr, reached } = await member();
    const refused = Array.from({ length: 3 }, () => "UNAUTHENTICATED");
    expect(await attempts(addr, { kind: "anyone" })).toEqual(refused);
    expect(reached).toEqual([]);
  });

  test("a certificate of another CA: refused, and nothing happens", async () => {
    const { addr, reached } = await member();
    // Shows the foreign certificate to a member whose CA it knows.
    const foreign = await credentialsOf("uuid-of-caller", otherCa);
    const credentials = { ...foreign, caPem: callerCredentials.caPem };
    const refused = Array.from({ length: 3 }, () => "UNAUTHENTICATED");
    expect(await attempts(addr, { kind: "member", credentials })).toEqual(refused);
    expect(reached).toEqual([]);
  });

  test("a certificate of the ring with the hello of another member: refused as a peer", async () => {
    const reasons: unknown[] = [];
    const warn = (fields: object) => void reasons.push((fields as { reason: string }).reason);
    const { addr, reached } = await member({ log: { ...quietLog, warn } });
    const credentials = await credentialsOf("uuid-of-mallory");
    const codes = await attempts(addr, { kind: "member", credentials });
    expect(codes).toEqual(["OK", "FAILED_PRECONDITION", "FAILED_PRECONDITION"]);
    expect(reached).toEqual(["admin"]);
    expect(reasons).toHaveLength(2);
    for (const reason of reasons) expect(reason).toMatch(/uuid-of-caller.*another member's/);
  });
});

describe("a caller", () => {
  const call = (addr: string, credentials = callerCredentials) =>
    transport({ credentials }).call(addr as never, "m", {}, patient);

  test("says nothing to a member of another ring", async () => {
    const { addr, reached } = await member({
      credentials: await credentialsOf("uuid-of-server", otherCa),
    });
    await expect(call(addr)).rejects.toMatchObject({
      reason: "unreachable",
      message: /its certificate is not of this ring/,
    });
    const credentials = () => callerCredentials;
    const command = createAdminCaller({ credentials })(addr, "userAdd", {
      name: "a",
      password: "b",
    });
    await expect(command).rejects.toThrow("its certificate is not of this ring");
    expect(reached).toEqual([]);
  });

  test("says nothing to a member that is not who it says it is", async () => {
    const { addr, reached } = await member({ credentials: await credentialsOf("uuid-of-mallory") });
    await expect(call(addr)).rejects.toMatchObject({
      reason: "unreachable",
      message: /says that it is uuid-of-server; its certificate is another member's/,
    });
    expect(reached).toEqual([]);
  });
});

describe("strangers who want to get in", () => {
  test("hear which ring it is and, on this machine, where its secrets are", async () => {
    const { addr } = await member();
    const { caPem, secretsFolder } = enrollment;
    expect(await describeMember(addr)).toEqual({ caPem, secretsFolder });
  });

  test("a token's secret goes to a member of the pinned CA only", async () => {
    const secrets: Buffer[] = [];
    const noting = {
      ...enrollment,
      redeem: async (secret: Buffer) => {
        secrets.push(secret);
        return { caKeyPem: "key" };
      },
    };
    const { addr } = await member({ enrollment: noting });
    const request = { secret: Buffer.from("s"), uuid: "u" };
    const wrong = redeemToken(addr, { ...request, caPem: otherCa.certPem });
    await expect(wrong).rejects.toThrow("its certificate is not of this ring");
    expect(secrets).toEqual([]);
    const right = redeemToken(addr, { ...request, caPem: serverCredentials.caPem });
    expect(await right).toEqual({ caKeyPem: "key" });
    expect(secrets).toEqual([request.secret]);
  });

  test("are few at a time; the place of one that is gone is free", async () => {
    const gate = deferred<{ refusal: string }>();
    let waiting = 0;
    const full = deferred<void>();
    const slow = {
      ...enrollment,
      redeem: () => {
        waiting += 1;
        if (waiting === bounds.strangersMax) full.resolve();
        return waiting > bounds.strangersMax ? Promise.resolve({ refusal: "no" }) : gate.promise;
      },
    };
    const { addr } = await member({ enrollment: slow });
    const client = caller(addr, { kind: "anyone" });
    const calls: ClientUnaryCall[] = [];
    const redeem = () =>
      codeOf((done) => {
        const request = { version: bounds.protocolVersion, secret: Buffer.alloc(32), uuid: "u" };
        calls.push(
          client.makeUnaryRequest(
            ...([enrollRedeem.path, enrollRedeem.requestSerialize] as const),
            ...([enrollRedeem.responseDeserialize, request, done] as const),
          ),
        );
      });
    const first = Array.from({ length: bounds.strangersMax }, redeem);
    await full.promise;
    expect(await redeem()).toBe("RESOURCE_EXHAUSTED");
    for (const call of calls) call.cancel();
    expect(new Set(await Promise.all(first))).toEqual(new Set(["CANCELLED"]));
    // Sooner than by its deadline, which frees the place in any case.
    const timeout = bounds.enrollDeadlineMs - 2_000;
    await expect.poll(redeem, { timeout }).toBe("OK");
    // Members and commands have never waited.
    const trust = { kind: "member", credentials: callerCredentials } as const;
    expect(await attempts(addr, trust)).toEqual(["OK", "OK", "OK"]);
  });
});

test.each([
  ["127.0.0.1", true],
  ["127.8.9.10", true],
  ["::1", true],
  ["::ffff:127.0.0.1", true],
  ["192.0.2.1", false],
  ["::ffff:192.0.2.1", false],
  ["2001:db8::1", false],
])("%s is of this machine: %s", (host, expected) => {
  expect(isOfThisMachine(host)).toBe(expected);
});
