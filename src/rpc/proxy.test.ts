/** Which environment variables send ring traffic through a proxy: one, and not the web's. */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import { createAdminCaller } from "./admin.js";
import { callerCredentials, identity, quietLog, startServer } from "./testing.js";
import { createPeerTransport } from "./transport.js";

afterEach(() => vi.unstubAllEnvs());

/** A CONNECT proxy that notes whom it was asked for. */
async function proxy() {
  const asked: string[] = [];
  const server = createServer();
  server.on("connect", ({ url = "" }, near) => {
    asked.push(url);
    const far = connect(Number(url.split(":")[1]), "127.0.0.1", () => {
      near.write("HTTP/1.1 200 OK\r\n\r\n");
      near.pipe(far).pipe(near);
    });
    for (const socket of [near, far]) socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { asked, url, [Symbol.asyncDispose]: async () => void server.close() };
}

/** One call between members and one of the command line. */
async function callBoth(): Promise<string> {
  const { addr, server } = await startServer();
  const transport = createPeerTransport({
    self: identity("caller"),
    credentials: callerCredentials,
    log: quietLog,
  });
  try {
    await transport.call(addr, "echo", {}, { deadlineMs: 30_000 });
    await createAdminCaller({ credentials: () => callerCredentials })(addr, "userList", {});
    return addr;
  } finally {
    transport.close();
    await server.stop(0);
  }
}

const webVariables = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"];

test("a proxy for the web carries no ring traffic", async () => {
  await using web = await proxy();
  vi.stubEnv("no_proxy", "");
  vi.stubEnv("grpc_proxy", "");
  for (const name of webVariables) vi.stubEnv(name, web.url);
  await callBoth();
  expect(web.asked).toEqual([]);
});

test("grpc_proxy carries it", async () => {
  await using web = await proxy();
  await using own = await proxy();
  vi.stubEnv("no_proxy", "");
  vi.stubEnv("http_proxy", web.url);
  vi.stubEnv("grpc_proxy", own.url);
  const addr = await callBoth();
  expect(own.asked).toEqual([addr, addr]);
  expect(web.asked).toEqual([]);
});
