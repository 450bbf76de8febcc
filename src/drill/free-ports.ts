import { createServer, type Server } from "node:net";

/** Offsets of the listeners above the ring port, and the ring port itself. */
const offsets = [0, 25, 110, 465, 587, 995] as const;
/** Ring ports come from the first 25 of every 1,024, so that no member's listener meets another's. */
const blockPorts = 1_024;
/** Below Linux's ephemeral range: no outgoing connection takes the port of a node that is down. */
const firstPort = 10_000;
const blocks = 22;

/** Held as long as its block is ours: several test processes choose ports at the same time. */
const reservationOffset = blockPorts - 1;
const ringPortsPerBlock = 25;

let block = (process.pid * 31) % blocks;
/** Ring ports of the block that were given out; all, before the first block is reserved. */
let given = ringPortsPerBlock;

/** The server that holds the port, or undefined when it is taken. */
function hold(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

async function isFree(port: number): Promise<boolean> {
  const server = await hold(port);
  if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  return server !== undefined;
}

/** Makes the next block that nobody else has ours, until this process ends. */
async function reserveBlock(): Promise<void> {
  for (let tries = 0; tries < blocks; tries += 1) {
    block = (block + 1) % blocks;
    const reservation = await hold(firstPort + block * blockPorts + reservationOffset);
    if (reservation === undefined) continue;
    reservation.unref();
    given = 0;
    return;
  }
  throw new Error("no free ports");
}

async function candidate(): Promise<number> {
  if (given === ringPortsPerBlock) await reserveBlock();
  given += 1;
  return firstPort + block * blockPorts + given - 1;
}

/** A ring port whose listeners' default ports are free too; never the same one twice. */
export async function freeRingPort(): Promise<number> {
  for (let tries = 0; tries < blocks * ringPortsPerBlock; tries += 1) {
    const port = await candidate();
    const free = await Promise.all(offsets.map((offset) => isFree(port + offset)));
    if (free.every(Boolean)) return port;
  }
  throw new Error("no free ports");
}

/** The first of `count` ring ports in a row, for commands that count up by themselves. */
export async function freeRingPorts(count: number): Promise<number> {
  for (let tries = 0; tries < blocks; tries += 1) {
    await reserveBlock();
    const first = firstPort + block * blockPorts;
    const ports = Array.from({ length: count }, (_, index) => first + index);
    const all = ports.flatMap((port) => offsets.map((offset) => port + offset));
    const free = await Promise.all(all.map(isFree));
    given = ringPortsPerBlock;
    if (free.every(Boolean)) return first;
  }
  throw new Error("no free ports");
}

/** A number that no other process on this machine that chooses ports here has until this one ends. */
export async function ownBlock(): Promise<number> {
  if (given === ringPortsPerBlock) await reserveBlock();
  return block;
}
