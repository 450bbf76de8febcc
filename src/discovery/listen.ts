/** The answering end: one UDP socket on the discovery port, shared with other members of the machine. */
import { createSocket, type Socket } from "node:dgram";
import type { Log } from "../shared/log.js";
import { createAnswerer } from "./answers.js";
import { discoveryGroup, discoveryPort, type FoundMember } from "./message.js";
import { isOn, listeningNetworks, type Network, ownNetworks } from "./networks.js";

export interface DiscoveryOptions {
  /** Where the others reach this member: says on which networks it answers. */
  readonly host: string;
  readonly member: FoundMember;
  readonly log: Pick<Log, "debug" | "warn">;
}

export interface Discovery {
  close(): Promise<void>;
}

/** Interfaces come and go; a network that is new is listened to after so long. */
const lookAgainMs = 15_000;

/** Never rejects: a member that can't be discovered is a member all the same; the log says why. */
export async function listenForQuestions(options: DiscoveryOptions): Promise<Discovery> {
  const { host, member, log } = options;
  let networks = listeningNetworks(host, ownNetworks());
  const answerer = createAnswerer(member, (address) => isOn(networks, address));
  // Several members of one machine hear the same group (SO_REUSEADDR).
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  const closed = new Promise<void>((resolve) => socket.once("close", resolve));
  const joined = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  socket.on("message", (datagram, from) => {
    const answer = answerer.answer(datagram, from, performance.now());
    // What can't be sent is a question that was lost: it is asked again.
    if (answer !== undefined) socket.send(answer, from.port, from.address, () => undefined);
  });
  const isBound = await new Promise<boolean>((resolve) => {
    socket.once("error", (error) => {
      log.warn({ error: String(error) }, "this member can't be discovered");
      resolve(false);
    });
    socket.bind({ port: discoveryPort, address: "0.0.0.0" }, () => resolve(true));
  });
  if (isBound) {
    socket.removeAllListeners("error");
    socket.on("error", (error) => log.debug({ error: String(error) }, "discovery"));
    join(socket, networks, joined, log);
    timer = setInterval(() => {
      networks = listeningNetworks(host, ownNetworks());
      join(socket, networks, joined, log);
    }, lookAgainMs);
    timer.unref();
    socket.unref();
  }
  return {
    close: async () => {
      clearInterval(timer);
      if (isBound) {
        socket.close();
        await closed;
      }
    },
  };
}

function join(
  socket: Socket,
  networks: readonly Network[],
  joined: Set<string>,
  log: DiscoveryOptions["log"],
): void {
  const now = new Set(networks.map(({ address }) => address));
  // The system leaves the group of an interface that is gone.
  for (const address of joined) if (!now.has(address)) joined.delete(address);
  for (const address of now) {
    if (joined.has(address)) continue;
    try {
      socket.addMembership(discoveryGroup, address);
      joined.add(address);
    } catch (error) {
      log.debug({ address, error: String(error) }, "no multicast here; broadcasts are answered");
    }
  }
}
