/** A network that can be cut: each member in a network namespace of its own, on one bridge. */
import { spawnSync } from "node:child_process";
import { ownBlock } from "./ports.js";
import { hasProgram } from "./process.js";
import type { MemberPlace } from "./ring.js";
import { type Skippable, undoAfterTest } from "./undo.js";

const ringPort = 5_000;
/** A locally administered address that no interface has: frames to it arrive nowhere. */
const nobody = "02:00:00:00:00:00";

let networks = 0;

/**
 * Members at 10.213.<block>.1 and so on, clients (this process) at .254. A cut is silent, as real
 * ones are: nothing is refused, packets are lost.
 */
export class Network {
  readonly #subnet: string;
  readonly #name: string;
  readonly #size: number;

  private constructor(block: number, size: number) {
    networks += 1;
    this.#subnet = `10.213.${block}`;
    this.#name = `rp${block}`;
    this.#size = size;
  }

  /** Skips the test where namespaces can't be made. One network per process at a time. */
  static async create(context: Skippable, size: number): Promise<Network> {
    if (networks > 0) throw new Error("the last network is still there");
    const network = new Network(await ownBlock(), size);
    // Of a run that was killed.
    network.#remove();
    undoAfterTest(() => {
      network.#remove();
      networks -= 1;
    });
    if (!hasProgram("nsenter")) context.skip("nsenter is not installed");
    try {
      network.#build();
    } catch (error) {
      context.skip(`needs network namespaces, veth and a bridge: ${String(error)}`);
    }
    return network;
  }

  place(index: number): MemberPlace {
    const host = this.#host(index);
    return {
      addr: `${host}:${ringPort}`,
      // Clients are on another host and send passwords in clear.
      args: ["--smtp", `${host}:25`, "--pop3", `${host}:110`, "--plain-auth", "always"],
      // Not `ip netns exec`: that makes a mount namespace, too, which keeps others' disks mounted.
      launcher: ["nsenter", `--net=/run/netns/${this.#space(index)}`],
    };
  }

  /** From now on what `from` sends to `to` is lost; the other direction stays. */
  cut(from: number, to: number): void {
    const neighbour = [this.#host(to), "lladdr", nobody, "dev", "eth0", "nud", "permanent"];
    ip("-n", this.#space(from), "neigh", "replace", ...neighbour);
  }

  /** The two sides lose each other. Clients reach both. */
  split(left: readonly number[], right: readonly number[]): void {
    for (const a of left) {
      for (const b of right) {
        this.cut(a, b);
        this.cut(b, a);
      }
    }
  }

  /** Every cut is mended. */
  heal(): void {
    for (let from = 0; from < this.#size; from += 1) {
      for (let to = 0; to < this.#size; to += 1) {
        if (from === to) continue;
        const neighbour = [this.#host(to), "dev", "eth0"];
        // An entry that was never cut may not be there.
        spawnSync("ip", ["-n", this.#space(from), "neigh", "del", ...neighbour]);
      }
    }
  }

  /** Pulls the plug of one member: nobody reaches it, clients included. */
  unplug(index: number): void {
    ip("link", "set", this.#plug(index), "down");
  }

  plug(index: number): void {
    ip("link", "set", this.#plug(index), "up");
  }

  /** Multicasts do not reach the member any more, as behind a switch that filters them. */
  refuseMulticast(index: number): void {
    ip("link", "set", this.#name, "type", "bridge", "mcast_snooping", "0");
    ip("link", "set", this.#plug(index), "type", "bridge_slave", "mcast_flood", "off");
  }

  #host(index: number): string {
    return `${this.#subnet}.${index + 1}`;
  }

  #space(index: number): string {
    return `${this.#name}n${index}`;
  }

  #plug(index: number): string {
    return `${this.#name}v${index}`;
  }

  #build(): void {
    const bridge = this.#name;
    ip("link", "add", bridge, "type", "bridge");
    ip("addr", "add", `${this.#subnet}.254/24`, "dev", bridge);
    ip("link", "set", bridge, "up");
    for (let index = 0; index < this.#size; index += 1) {
      const [space, plug] = [this.#space(index), this.#plug(index)];
      ip("netns", "add", space);
      ip("link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", space);
      ip("link", "set", plug, "master", bridge, "up");
      ip("-n", space, "addr", "add", `${this.#host(index)}/24`, "dev", "eth0");
      ip("-n", space, "link", "set", "eth0", "up");
      ip("-n", space, "link", "set", "lo", "up");
    }
  }

  #remove(): void {
    for (let index = 0; index < this.#size; index += 1) {
      spawnSync("ip", ["netns", "del", this.#space(index)]);
      spawnSync("ip", ["link", "del", this.#plug(index)]);
    }
    spawnSync("ip", ["link", "del", this.#name]);
  }
}

function ip(...args: string[]): void {
  const done = spawnSync("ip", args, { encoding: "utf8" });
  if (done.status === 0) return;
  throw new Error(`ip ${args.join(" ")}: ${done.stderr?.trim() || String(done.error)}`);
}
