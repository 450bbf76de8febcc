import { expect, test } from "vitest";
import { RingpostError } from "../errors.js";
import { QueueDoors } from "./queue-doors.js";

const denied = new RingpostError("denied", "-ERR [AUTH] wrong name or password", false);
const unknown = new RingpostError("unknown", "there is no queue jobs", false);
const empty = { ready: 0, delayed: 0, leased: 0, octets: 0 };

/** Of one queue, that is there or not. */
class World {
  isThere = false;
  logins = 0;
  readonly told: unknown[] = [];
  readonly doors = new QueueDoors({
    open: () => {
      this.logins += 1;
      return this.isThere ? Promise.resolve() : Promise.reject(denied);
    },
    status: () => (this.isThere ? Promise.resolve(empty) : Promise.reject(unknown)),
    failed: (_, error) => this.told.push(error),
  });

  /** As a consumer does at each look. */
  async look(): Promise<void> {
    await this.doors
      .open("jobs", () => Promise.resolve())
      .catch((error: unknown) => this.doors.failed("jobs", error));
  }
}

test("a queue that is gone: what the ring says is told once, and no login tried in vain again", async () => {
  const world = new World();
  for (let n = 0; n < 3; n += 1) await world.look();
  expect(world.told).toEqual([unknown]);
  expect(world.logins).toBe(1);
});

test("it is opened when it is there again, and told anew when it goes once more", async () => {
  const world = new World();
  await world.look();
  world.isThere = true;
  await world.look();
  expect(world.logins).toBe(2);
  world.isThere = false;
  await world.look();
  expect(world.told).toEqual([unknown, unknown]);
});

test("denied although the queue is there and ours: the login is what fails", async () => {
  const doors = new QueueDoors({
    open: () => Promise.reject(denied),
    status: () => Promise.resolve(empty),
    failed: () => undefined,
  });
  await expect(doors.open("jobs", () => Promise.resolve())).rejects.toBe(denied);
});

test("dead letters that there are none of: an empty queue, and no failure", async () => {
  const world = new World();
  await expect(world.doors.status("jobs")).rejects.toBe(unknown);
  world.doors.expect("jobs");
  await world.look();
  expect(world.told).toEqual([]);
  expect(await world.doors.status("jobs")).toEqual(empty);
});
