/** POP3 servers and clients that end with the test that made them. */
import { afterEach } from "vitest";
import {
  createPop3Server,
  type Pop3Server,
  type Pop3ServerOptions,
  type SessionSummary,
} from "../../src/pop3/index.js";
import type { TestClient } from "./pop3-support.js";

export interface Pop3Scope {
  /** On a free port of this machine. `ended`: how the next session to end has ended. */
  listen(options: Pop3ServerOptions): Promise<{
    readonly server: Pop3Server;
    readonly port: number;
    readonly ended: () => Promise<SessionSummary>;
  }>;
  /** Its socket ends with the test. */
  kept<T extends TestClient>(client: T): T;
}

/** Call at the top of a test file. */
export function pop3Scope(): Pop3Scope {
  const servers: Pop3Server[] = [];
  const clients: TestClient[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) client.socket.destroy();
    for (const server of servers.splice(0)) await server.close({ deadlineMs: 1_000 });
  });
  return {
    async listen(options) {
      const ends: SessionSummary[] = [];
      let onEnd = (): void => undefined;
      const server = createPop3Server({
        onClose: (_, summary) => {
          ends.push(summary);
          onEnd();
        },
        ...options,
      });
      servers.push(server);
      const { port } = await server.listen({ port: 0, host: "127.0.0.1" });
      const ended = async (): Promise<SessionSummary> => {
        for (let end = ends.shift(); ; end = ends.shift()) {
          if (end !== undefined) return end;
          await new Promise<void>((resolve) => {
            onEnd = resolve;
          });
        }
      };
      return { server, port, ended };
    },
    kept(client) {
      clients.push(client);
      return client;
    },
  };
}
