/**
 * Calls per second between two processes: unary gRPC against the long-lived stream.
 * `npx tsx bench/rpc.ts [seconds] [calls in flight]`
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { adoptRing, foundRing, readCa, readCredentials } from "../src/secrets/index.js";
import type { Address, MemberUuid } from "../src/shared/ids.js";
import { createPeerTransport, createRpcServer } from "../src/rpc/index.js";

const quiet = () => {};
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const blobOctets = 4_096;

const enrollment = {
  caPem: "",
  secretsFolder: "",
  redeem: async () => ({ refusal: "no token is good here" }),
};

function identity(name: string) {
  return { uuid: name as MemberUuid, addr: `${name}:0` as Address, ring: "bench" };
}

async function serve(folder: string): Promise<void> {
  const server = createRpcServer({
    listen: "127.0.0.1:0" as Address,
    self: identity("server"),
    credentials: await credentialsIn(folder),
    enrollment,
    onRing: async (message) => ({ length: String(message).length }),
    onPeerCall: async (_from, _method, { blobs }) =>
      ({ stored: blobs?.[0]?.length }) as { blobs?: Buffer[] },
    onAdmin: async () => process.cpuUsage(),
    log,
  });
  process.on("message", () => process.send?.({ cpu: process.cpuUsage() }));
  process.send?.({ addr: await server.start() });
}

/** Runs `call` with `inFlight` at a time for `seconds`; answers rate and CPU per call, in µs. */
async function measure(
  name: string,
  seconds: number,
  inFlight: number,
  serverCpuMicros: () => Promise<number>,
  call: () => Promise<unknown>,
): Promise<void> {
  const worker = async (endMs: number): Promise<number> => {
    let calls = 0;
    for (; performance.now() < endMs; calls += 1) await call();
    return calls;
  };
  const run = async (durationMs: number) => {
    const endMs = performance.now() + durationMs;
    const counts = await Promise.all(Array.from({ length: inFlight }, () => worker(endMs)));
    return counts.reduce((sum, count) => sum + count, 0);
  };
  await run(500);
  const cpuBefore = process.cpuUsage();
  const serverBefore = await serverCpuMicros();
  const startMs = performance.now();
  const calls = await run(seconds * 1_000);
  const elapsedMs = performance.now() - startMs;
  const cpu = process.cpuUsage(cpuBefore);
  const serverMicros = (await serverCpuMicros()) - serverBefore;
  const rate = Math.round((calls / elapsedMs) * 1_000);
  const client = ((cpu.user + cpu.system) / calls).toFixed(1);
  const server = (serverMicros / calls).toFixed(1);
  process.stdout.write(
    `${name}, ${inFlight} in flight: ${rate} calls/s, ` +
      `CPU caller ${client} µs, server ${server} µs\n`,
  );
}

async function main(seconds: number, inFlight: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-bench-"));
  const [own, its] = [join(folder, "caller"), join(folder, "server")];
  const credentials = await foundRing(own, "caller");
  const ca = await readCa(own);
  if (ca === undefined) throw new Error("no CA was made");
  await adoptRing(its, ca, "server");
  const child = fork(new URL(import.meta.url), ["serve", its]);
  const [{ addr }] = (await once(child, "message")) as [{ addr: Address }];
  const transport = createPeerTransport({ self: identity("caller"), credentials, log });
  const serverCpuMicros = async () => {
    child.send("cpu");
    const [{ cpu }] = (await once(child, "message")) as [{ cpu: NodeJS.CpuUsage }];
    return cpu.user + cpu.system;
  };
  const blob = Buffer.alloc(blobOctets, "x");
  const text = "x".repeat(blobOctets);
  const unary = () => transport.callRing(addr, text, { deadlineMs: 5_000 });
  const stream = () => transport.call(addr, "write", { blobs: [blob] }, { deadlineMs: 5_000 });
  await stream();
  await measure("unary ", seconds, inFlight, serverCpuMicros, unary);
  await measure("stream", seconds, 1, serverCpuMicros, stream);
  await measure("stream", seconds, inFlight, serverCpuMicros, stream);
  await measure("stream", seconds, inFlight * 8, serverCpuMicros, stream);
  transport.close();
  child.kill();
  rmSync(folder, { recursive: true });
}

async function credentialsIn(folder: string) {
  const credentials = await readCredentials(folder);
  if (credentials === undefined) throw new Error(`no credentials in ${folder}`);
  return credentials;
}

if (process.argv[2] === "serve") await serve(process.argv[3] ?? "");
else await main(Number(process.argv[2] ?? 3), Number(process.argv[3] ?? 64));
