/** What is typed at the terminal. (Passwords from stdin: admin-commands.test.ts.) */
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { readNewPassword } from "./password.js";
import { fakeWorld } from "./testing.js";

/** A terminal on which `typed` answers the questions; `seen`: what happens on it, in order. */
function terminal(typed: readonly string[]) {
  const seen: string[] = [];
  const answers = [...typed];
  const stdin = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (on: boolean) => void seen.push(on ? "echo off" : "echo on"),
  });
  const world = fakeWorld();
  const prompt = (text: string): void => {
    seen.push(text);
    const answer = answers.shift();
    if (answer !== undefined) stdin.write(answer);
  };
  const output = { ...world.output, prompt };
  return { seen, world: { ...world, output, stdin: stdin as unknown as NodeJS.ReadStream } };
}

test("typed twice; nothing is echoed from before the first question to the end", async () => {
  const { seen, world } = terminal(["wonder land\r", "wonder land\r"]);
  expect(await readNewPassword(world, {})).toBe("wonder land");
  expect(seen).toEqual(["echo off", "New password: ", "Again: ", "echo on"]);
});

test("two different ones are refused", async () => {
  const { seen, world } = terminal(["wonder land\r", "wonder lamd\r"]);
  await expect(readNewPassword(world, {})).rejects.toThrow("the two passwords differ; try again");
  expect(seen.at(-1)).toBe("echo on");
});

test("one that is too short is not asked for again", async () => {
  const { seen, world } = terminal(["short\r"]);
  await expect(readNewPassword(world, {})).rejects.toThrow(/is too short/);
  expect(seen).toEqual(["echo off", "New password: ", "echo on"]);
});

test.each([
  ["Ctrl-C", "\u0003"],
  ["Ctrl-D", "\u0004"],
])("%s cancels", async (_, key) => {
  const { seen, world } = terminal([key]);
  await expect(readNewPassword(world, {})).rejects.toMatchObject({
    message: "cancelled",
    exitCode: 130,
  });
  expect(seen.at(-1)).toBe("echo on");
});
