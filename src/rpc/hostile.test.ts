/** Strangers at the port of a member. Whatever they send, the member goes on serving. */
import { randomBytes } from "node:crypto";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { Client, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RingCredentials } from "../secrets/index.js";
import { bounds } from "./bounds.js";
import { channelCredentials, serverName } from "./credentials.js";
import { encodeHello, encodeItems, outgoingItem, type ReceivedFrame } from "./frame.js";
import { helloOf } from "./identity.js";
import { exchangeMethod } from "./schema.js";
import {
  credentialsOf,
  identity,
  quietLog,
  type RunningServer,
  serverCredentials,
  startServer,
} from "./testing.js";
import { createPeerTransport } from "./transport.js";

const friend = await credentialsOf("uuid-of-friend");
const stranger = await credentialsOf("uuid-of-stranger");

let member: RunningServer;
beforeAll(async () => {
  member = await startServer({ keepalive: { intervalMs: 1_000, timeoutMs: 2_000 } });
});
afterAll(async () => member.server.stop(0));

async function expectServing(): Promise<void> {
  const caller = createPeerTransport({
    self: identity("friend"),
    credentials: friend,
    log: quietLog,
  });
  const blobs = [Buffer.from("x")];
  const answer = await caller.call(member.addr, "m", { blobs }, { deadlineMs: 30_000 });
  expect(answer.blobs?.[0]?.toString()).toBe("x");
  caller.close();
}

function rawSocket() {
  const [host, port] = member.addr.split(":");
  const socket = connect(Number(port), host);
  socket.on("error", () => {});
  socket.resume();
  return socket;
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const openings: [string, Buffer][] = [
  ["random bytes", randomBytes(100_000)],
  ["an HTTP/1 request", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
  ["random bytes after the preface of HTTP/2", Buffer.from(preface + "\xff\xff".repeat(50_000))],
  ["nothing", Buffer.alloc(0)],
];
describe("on a raw connection", () => {
  test.each(openings)("%s: closed", async (_name, bytes) => {
    const socket = rawSocket();
    if (bytes.length > 0) socket.write(bytes);
    // With octets unread, the system says so by a reset; that is closed as well.
    await new Promise((resolve) => socket.on("close", resolve));
    await expectServing();
  });
});

/** Opens a stream, writes frames as they are, answers what came back and how it ended. */
async function speak(frames: readonly Buffer[], credentials = stranger) {
  const trust = { kind: "member", credentials } as const;
  const client = new Client(member.addr, channelCredentials(trust), {
    "grpc.ssl_target_name_override": serverName,
  });
  const { path, requestSerialize, responseDeserialize } = exchangeMethod;
  const stream = client.makeBidiStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    new Metadata(),
    {},
  );
  const received: ReceivedFrame[] = [];
  stream.on("data", (frame: ReceivedFrame) => received.push(frame));
  const ended = new Promise<number>((resolve) => {
    stream.on("error", (error: ServiceError) => resolve(error.code));
    stream.on("end", () => resolve(status.OK));
  });
  for (const frame of frames) stream.write(frame);
  return { received, stream, ended, close: () => client.close() };
}

const hello = encodeHello(helloOf(identity("stranger")), 0);

function call(header: string): Buffer {
  const parts = { id: 5, text: "m", header, blobs: [], deadlineAtMs: 60_000 };
  return encodeItems([outgoingItem({ kind: "call", ...parts })], 0);
}

const rubbish: [string, Buffer[], status, RingCredentials?][] = [
  ["a call before any hello", [call("{}")], status.FAILED_PRECONDITION],
  ["no hello at all", [], status.DEADLINE_EXCEEDED],
  ["a frame that is none", [Buffer.alloc(1_000, 0xff)], status.INTERNAL],
  ["a frame that is none, after hello", [hello, Buffer.alloc(1_000, 0xff)], status.INTERNAL],
  [
    "a frame beyond the limit",
    [Buffer.alloc(bounds.frameOctetsMax + 1)],
    status.RESOURCE_EXHAUSTED,
  ],
  [
    "another protocol version",
    [encodeHello({ ...helloOf(identity("stranger")), version: 2 }, 0)],
    status.FAILED_PRECONDITION,
  ],
  [
    "the identity of the member itself at another address",
    [encodeHello({ ...helloOf(identity("server")), addr: "copy:1" }, 0)],
    status.FAILED_PRECONDITION,
    serverCredentials,
  ],
];
describe("on a stream", () => {
  test.each(rubbish)("%s: the stream ends", async (_name, frames, code, credentials) => {
    const stranger = await speak(frames, credentials);
    expect(status[await stranger.ended]).toBe(status[code]);
    stranger.close();
    await expectServing();
  });

  test.each(["", "not JSON", "[]", "null", '{"blobs":[1]}'])(
    "a call with the header %j fails, the stream goes on",
    async (header) => {
      const stranger = await speak([hello, call(header), call('{"ok":true}')]);
      await expect.poll(() => stranger.received.flatMap((f) => f.answers).length).toBe(2);
      const answers = stranger.received.flatMap((frame) => frame.answers);
      expect(answers.map(({ failure }) => failure !== "")).toEqual([true, false]);
      stranger.stream.cancel();
      stranger.close();
    },
  );

  test("a length of 2 GB is refused without room being made for it", async () => {
    const before = process.memoryUsage().rss;
    const session = connectHttp2(`https://${member.addr}`, {
      ca: stranger.caPem,
      cert: stranger.certPem,
      key: stranger.keyPem,
      servername: serverName,
      checkServerIdentity: () => undefined,
    });
    const stream = session.request({
      ":method": "POST",
      ":path": exchangeMethod.path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    const trailers = new Promise<string>((resolve) => {
      const look = (headers: Record<string, unknown>) => {
        if ("grpc-status" in headers) resolve(String(headers["grpc-status"]));
      };
      stream.on("response", look);
      stream.on("trailers", look);
    });
    stream.resume();
    stream.write(Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
    expect(await trailers).toBe(String(status.RESOURCE_EXHAUSTED));
    session.destroy();
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
    await expectServing();
  });
});
