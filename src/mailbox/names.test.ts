import { beforeEach, describe, expect, test } from "vitest";
import { box, createWorld, type World } from "./testing.js";

const ann = box("ann");
let world: World;

beforeEach(async () => {
  world = createWorld();
  await world.registry.accounts.add("ann", "x");
});

const recall = async (): Promise<[string, number]> => {
  const before = world.registers.reads;
  const { kind } = await world.registry.names.recall(ann);
  return [kind, world.registers.reads - before];
};

describe("that there is a name", () => {
  test("is remembered for 5 s", async () => {
    expect(await recall()).toEqual(["account", 1]);
    world.nowMs += 4_999;
    expect(await recall()).toEqual(["account", 0]);
    world.nowMs += 2;
    expect(await recall()).toEqual(["account", 1]);
  });

  test("is forgotten when it is told to have changed", async () => {
    await recall();
    world.registers.values.delete(`account:${ann}`);
    world.registry.forget(`account:${ann}`);
    expect(await recall()).toEqual(["unknown", 1]);
  });

  test("is not remembered when it changed while it was being read", async () => {
    world.registers.meanwhile = () => {
      world.registers.meanwhile = undefined;
      world.registers.values.delete(`account:${ann}`);
      world.registry.forget(`account:${ann}`);
    };
    expect(await recall()).toEqual(["account", 1]);
    expect(await recall()).toEqual(["unknown", 1]);
  });
});

test("that there is none is never remembered", async () => {
  world.registers.values.clear();
  expect(await recall()).toEqual(["unknown", 1]);
  expect(await recall()).toEqual(["unknown", 1]);
});

test("a name of which too few members tell is neither there nor away", async () => {
  world.registers.silent.add("all");
  expect(await recall()).toEqual(["undecided", 1]);
});
