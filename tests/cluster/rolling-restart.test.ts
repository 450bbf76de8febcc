/** Every member is stopped and started in turn, as for an upgrade. Nobody is turned away. */
import { expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { fetchAll } from "../../src/drill/fetching.js";
import { Pop3Refused } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";
import { checkPromises, some, startLoad } from "../support/under-load.js";
import { WireError } from "../support/wire.js";

const scope = ringScope();

test("K4: SIGTERM and a new start of each member, under load", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers([steadyBox]);
  const load = await startLoad(ring);
  const steady = new SteadyClients(ring);
  for (const member of ring.members) {
    steady.avoid(member);
    expect(await member.kill("SIGTERM")).toEqual({ code: 0, signal: null });
    await load.progress(some, `without member ${member.id}`);
    await member.restart();
    steady.avoid(undefined);
    await load.progress(some, `after member ${member.id} came back`);
  }
  expect(await steady.stop()).toEqual([]);
  expect(steady.served).toBeGreaterThan(10);
  await checkPromises(ring, load);
}, 300_000);

const steadyBox = "steady";

/** A sender and a reader that write down every refusal. They turn away from who is being stopped. */
class SteadyClients {
  served = 0;
  readonly #ring: Ring;
  readonly #refusals: string[] = [];
  readonly #running: Promise<unknown>;
  #avoided: Member | undefined;
  #turn = 0;
  #stopping = false;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.#running = Promise.all([this.#loop(() => this.#send()), this.#loop(() => this.#read())]);
  }

  avoid(member: Member | undefined): void {
    this.#avoided = member;
  }

  async stop(): Promise<readonly string[]> {
    this.#stopping = true;
    await this.#running;
    return this.#refusals;
  }

  async #loop(once: () => Promise<string | undefined>): Promise<void> {
    while (!this.#stopping) {
      try {
        const refusal = await once();
        if (refusal === undefined) this.served += 1;
        else this.#refusals.push(refusal);
      } catch (error) {
        // A connection to a member that has just been told to stop may end: one connects again.
        // It may say so at any step (RFC 5321 §3.8); the mail is then not taken.
        const isStopping = /: 421 .*shutting down/.test(String(error));
        const goesOn = error instanceof WireError || isStopping;
        if (!goesOn) this.#refusals.push(String(error));
      }
    }
  }

  #pick(): Member {
    const members = this.#ring.running.filter((member) => member !== this.#avoided);
    const member = members[this.#turn++ % members.length];
    if (member === undefined) throw new Error("nobody runs");
    return member;
  }

  async #send(): Promise<string | undefined> {
    const member = this.#pick();
    const client = await SmtpClient.connect(member.smtp);
    try {
      const mail = Buffer.from(`Subject: steady ${this.#turn}\r\n\r\nsteady\r\n`);
      const to = [`${steadyBox}@${domain}`];
      const { reply, stored } = await client.send({ from: "", to }, mail);
      if (!stored) return this.#refusal(member, reply.lines.join(" / "));
      await client.quit();
      return undefined;
    } finally {
      client.destroy();
    }
  }

  async #read(): Promise<string | undefined> {
    const member = this.#pick();
    try {
      await fetchAll(member.pop3, steadyBox, password, { pipelined: true });
      return undefined;
    } catch (error) {
      if (error instanceof Pop3Refused) return this.#refusal(member, error.message);
      throw error;
    }
  }

  /** One that is being stopped may say so to those who were at it. */
  #refusal(member: Member, text: string): string | undefined {
    const says = text.includes("server is shutting down");
    return says && member === this.#avoided ? undefined : `at ${member.id}: ${text}`;
  }
}
