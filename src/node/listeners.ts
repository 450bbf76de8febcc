/** Ports: taken ones are to be known before the ring is told of this member. */
import { once } from "node:events";
import { createServer } from "node:net";
import { formatEndpoint } from "../config/index.js";
import { NodeStartError } from "./identity.js";

interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export type ListenerOption = "smtp" | "submission" | "submissions" | "pop3" | "pop3s";

/** A server, and where it is to listen. */
export interface Listening<Name extends ListenerOption> {
  readonly name: Name;
  readonly at: Endpoint;
  readonly server: { listen(at: Endpoint): Promise<{ readonly port: number }> };
}

/** Opens all, one after the other; where each listens, as text. @throws NodeStartError */
export async function openAll<Name extends ListenerOption>(
  servers: readonly Listening<Name>[],
): Promise<Partial<Record<Name, string>>> {
  const listening: Partial<Record<Name, string>> = {};
  for (const { name, at, server } of servers) {
    const { port } = await opened(name, at, () => server.listen(at));
    listening[name] = formatEndpoint({ host: at.host, port });
  }
  return listening;
}

/** What `listen` resolves to. @throws NodeStartError that names port and option */
async function opened<T>(
  option: ListenerOption,
  { host, port }: Endpoint,
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const why = reasonOf(error);
    throw new NodeStartError(`port ${port} on ${host} ${why}; choose another with --${option}`);
  }
}

function reasonOf(error: unknown): string {
  const { code } = error as { code?: string };
  switch (code) {
    case "EADDRINUSE":
      return "is already in use";
    case "EACCES":
      return "needs more rights than this user has";
    default:
      return `can't be opened (${code ?? String(error)})`;
  }
}

/** Opens and closes each listener's port. @throws NodeStartError */
export async function probeListeners(
  endpoints: Readonly<Partial<Record<ListenerOption, Endpoint>>>,
): Promise<void> {
  for (const option of ["smtp", "submission", "submissions", "pop3", "pop3s"] as const) {
    const endpoint = endpoints[option];
    if (endpoint === undefined) continue;
    const { host, port } = endpoint;
    await opened(option, { host, port }, async () => {
      const probe = createServer();
      probe.listen(port, host);
      await once(probe, "listening");
      probe.close();
      await once(probe, "close");
    });
  }
}
