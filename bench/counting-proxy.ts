/** Stands between a client and a listener, and counts octets and mails. Without TLS, so that it can. */
import { connect, createServer, type Socket } from "node:net";

export interface CountingProxy {
  /** `host:port`. */
  readonly addr: string;
  /** In both directions, since it was made. */
  readonly octets: number;
  /** DATA commands, since it was made. */
  readonly mails: number;
  close(): void;
}

export async function countingProxy(target: string): Promise<CountingProxy> {
  const [host = "", port = ""] = target.split(":");
  const counts = { octets: 0, mails: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    const pair = [client, upstream] as const;
    for (const [socket, other] of [pair, [upstream, client] as const]) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (chunk) => {
      counts.octets += chunk.length;
      // A command of its own, or at the end of a pipelined group (RFC 2920 §3.1).
      if (chunk.length < 4_096 && /(^|\n)DATA\r\n$/i.test(chunk.toString("latin1"))) {
        counts.mails += 1;
      }
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      counts.octets += chunk.length;
      const text = chunk.toString("latin1");
      const isOffer = /^(250[ -]STARTTLS|STLS)\r$/m.test(text);
      // The same length, and nothing that a client knows.
      const without = text
        .replace(/STARTTLS\r\n/, "XTARTTLS\r\n")
        .replace(/^STLS\r\n/m, "XTLS\r\n");
      client.write(isOffer ? Buffer.from(without, "latin1") : chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as { port: number };
  return {
    addr: `127.0.0.1:${own}`,
    get octets() {
      return counts.octets;
    },
    get mails() {
      return counts.mails;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
