import { createServer } from "node:net";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { AdminError } from "../shared/admin.js";
import { createAdminCaller } from "./admin.js";
import { callerCredentials, startServer } from "./testing.js";

const credentials = () => callerCredentials;
const call = createAdminCaller({ credentials });

async function answering(onAdmin: (method: string, args: unknown) => Promise<unknown>) {
  const { addr, server } = await startServer({ onAdmin });
  return { addr, [Symbol.asyncDispose]: () => server.stop(0) };
}

describe("commands", () => {
  test("carry arguments and reply", async () => {
    await using member = await answering(async (method, args) => ({ mailbox: { method, args } }));
    const args = { name: "älice", password: "x" };
    const reply = await call(member.addr, "userAdd", args);
    expect(reply).toEqual({ mailbox: { method: "userAdd", args } });
  });

  test("a refusal keeps its code; a bug becomes internal", async () => {
    await using member = await answering(async (method) => {
      if (method === "userList") throw new TypeError("bug\nhere");
      throw new AdminError("exists", "alice@ring.test exists already");
    });
    await expect(call(member.addr, "userRemove", { name: "a" })).rejects.toMatchObject({
      name: "AdminError",
      code: "exists",
      message: "alice@ring.test exists already",
    });
    await expect(call(member.addr, "userList", {})).rejects.toMatchObject({
      code: "internal",
      message: "TypeError: bug here",
    });
  });

  test("a command of a later version is unimplemented", async () => {
    await using member = await answering(async () => ({}));
    const later = call(member.addr, "constructor" as "status", {});
    await expect(later).rejects.toMatchObject({ code: "unimplemented" });
  });

  test("nobody there, somebody else there, nobody answering: unavailable, one line", async () => {
    await using member = await answering(async () => new Promise(() => {}));
    const other = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const hasty = createAdminCaller({ deadlineMs: 500, credentials });
    for (const addr of ["127.0.0.1:1", `127.0.0.1:${port}`, member.addr]) {
      const outcome = hasty(addr, "status", {});
      await expect(outcome).rejects.toMatchObject({ name: "AdminError", code: "unavailable" });
      await expect(outcome).rejects.toThrow(addr);
      await expect(outcome).rejects.not.toThrow("\n");
    }
    other.close();
  });
});
