/** What a program sees of a client that it ends while something is under way. */
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { connect } from "./connect.js";
import { openJournal } from "./journal/journal.js";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** It takes connections and says nothing. */
async function silentServer() {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    server.emit("guest");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const guest = new Promise<void>((resolve) => server.once("guest", resolve));
  return { at, guest };
}

test("a login that is broken off ends with that, gives its store back, and ends no process", async () => {
  const unhandled = vi.fn();
  process.on("unhandledRejection", unhandled);
  ends.push(() => process.off("unhandledRejection", unhandled));
  const store = mkdtempSync(join(tmpdir(), "ringpost-closing-"));
  ends.push(() => rmSync(store, { recursive: true, force: true }));
  const { at, guest } = await silentServer();
  const over = new AbortController();
  const account = { user: "ann@ring.test", password: "secret" };
  const servers = [{ smtp: at, pop3: at, submission: at }];
  const connecting = connect({ servers, account, store, signal: over.signal });
  const refused = expect(connecting).rejects.toMatchObject({ code: "closed" });
  await guest;
  over.abort();
  await refused;
  const journal = await openJournal({ user: account.user, directory: store });
  await journal.close();
  expect(unhandled).not.toHaveBeenCalled();
});
