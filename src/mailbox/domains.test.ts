import { beforeEach, describe, expect, test } from "vitest";
import type { Domains } from "./domains.js";
import { createWorld, type World } from "./testing.js";

let world: World;
let domains: Domains;

beforeEach(() => {
  world = createWorld();
  ({ domains } = world.registry);
});

describe("a domain", () => {
  test("is served from its adding to its removal", async () => {
    expect(await domains.serves("second.test")).toBe("no");
    const done = { kind: "done", domain: "second.test" };
    expect(await domains.add("Second.Test")).toMatchObject(done);
    expect(await domains.serves("second.test")).toBe("yes");
    expect(await domains.list()).toEqual(["ring.test", "second.test"]);
    expect(await domains.add("second.test")).toEqual({ ...done, changed: false });
    expect(await domains.remove("second.test")).toMatchObject(done);
    expect(await domains.serves("second.test")).toBe("no");
    expect(await domains.remove("second.test")).toEqual({ ...done, changed: false });
    expect(world.announced).toContain("domains:ring.test");
  });

  test("in other letters is its A-label", async () => {
    expect(await domains.add("BÜCHER.example")).toMatchObject({ domain: "xn--bcher-kva.example" });
    expect(await domains.serves("xn--bcher-kva.example")).toBe("yes");
  });

  test.each(["ring.test", "RING.test", "", "a..b", "a b", "-a.test", "192.0.2.1", "[192.0.2.1]"])(
    "%j can't be added",
    async (name) => {
      expect((await domains.add(name)).kind).toBe("invalid");
      expect(world.registers.values.size).toBe(0);
    },
  );
});

describe("whether a domain is served", () => {
  test("is asked once in 5 s when it is", async () => {
    await domains.add("second.test");
    await domains.serves("second.test");
    const before = world.registers.reads;
    world.nowMs += 4_999;
    expect([await domains.serves("second.test"), world.registers.reads]).toEqual(["yes", before]);
    world.nowMs += 2;
    await domains.serves("second.test");
    expect(world.registers.reads).toBe(before + 1);
  });

  test("is asked each time when it is not: another member may have added it just now", async () => {
    await domains.add("second.test");
    expect(await domains.serves("third.test")).toBe("no");
    world.registers.values.set("domains:ring.test", { added: ["third.test"] });
    expect(await domains.serves("third.test")).toBe("yes");
  });

  test("a question that came later is not answered by an earlier one's answer", async () => {
    const early = domains.serves("third.test");
    world.registers.values.set("domains:ring.test", { added: ["third.test"] });
    const late = domains.serves("third.test");
    expect([await early, await late]).toEqual(["no", "yes"]);
  });

  test("is unknown when too few members tell; the first domain is known always", async () => {
    world.registers.silent.add("all");
    expect(await domains.serves("second.test")).toBe("undecided");
    expect(await domains.serves("ring.test")).toBe("yes");
    expect(await domains.list()).toBeUndefined();
    expect(await domains.add("second.test")).toEqual({ kind: "undecided" });
  });
});
