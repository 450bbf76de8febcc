/** Servers, callers and whatever else ends with the test that made it. */
import { afterEach } from "vitest";
import {
  callerCredentials,
  identity,
  quietLog,
  type RunningServer,
  startServer,
} from "./testing.js";
import { createPeerTransport, type PeerTransport, type PeerTransportOptions } from "./transport.js";

export interface RpcScope {
  /** Ends with the test, the latest first. */
  defer(cleanup: () => unknown): void;
  server(overrides?: Parameters<typeof startServer>[0]): Promise<RunningServer>;
  transport(overrides?: Partial<PeerTransportOptions>): PeerTransport;
}

/** Call at the top of a test file. */
export function rpcScope(): RpcScope {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  return {
    defer: (cleanup) => void cleanups.push(cleanup),
    async server(overrides) {
      const running = await startServer(overrides);
      cleanups.push(() => running.server.stop(0));
      return running;
    },
    transport(overrides) {
      const created = createPeerTransport({
        self: identity("caller"),
        credentials: callerCredentials,
        log: quietLog,
        ...overrides,
      });
      cleanups.push(() => created.close());
      return created;
    },
  };
}
