import { beforeEach, expect, test } from "vitest";
import { openPacket, readMail } from "../../ebm/index.js";
import { openJournal } from "../journal/journal.js";
import type { Post } from "../transport/post.js";
import type { SmtpReply } from "../transport/reply.js";
import type { Answers } from "./answers.js";
import { Control } from "./control.js";

const done: SmtpReply = { code: 250, text: "2.0.0 ebm=ok id=x" };
const overtaken: SmtpReply = {
  code: 550,
  text: "5.7.1 ebm=denied its packet number is not above those seen before",
};
const denied: SmtpReply = { code: 550, text: "5.7.1 ebm=denied wrong user or password" };

let replies: SmtpReply[] = [];
let numbers: number[] = [];
let control: Control;
/** The ring answers when it resolves. */
let answering: Promise<void>;

beforeEach(async () => {
  numbers = [];
  answering = Promise.resolve();
  const post = {
    isElsewhere: false,
    toRing: async (make: () => Promise<{ readonly octets: Buffer }>) => {
      const { packet } = readMail((await make()).octets);
      numbers.push(openPacket(packet ?? Buffer.alloc(0), Date.now()).header.packet);
      await answering;
      return replies.shift() ?? done;
    },
  } as unknown as Post;
  control = new Control({
    ...{ user: "ann@ring.test", address: "ann+data@ring.test", post, nowMs: Date.now },
    ...{ ring: () => "ring@ring.test", token: () => "token", isOfRing: () => true },
    ...{ answers: {} as Answers, signal: new AbortController().signal },
    journal: await openJournal({ user: "ann@ring.test" }),
  });
});

const ask = () => control.ask("removeQueue", { name: "q" });

test("a question whose second copy came first to be refused is asked with a new number", async () => {
  replies = [overtaken, done];
  await ask();
  expect(numbers).toEqual([1, 2]);
});

test("numbers that are all used up are told", async () => {
  replies = Array<SmtpReply>(9).fill(overtaken);
  await expect(ask()).rejects.toMatchObject({ code: "denied", retryable: false });
  expect(numbers).toEqual([1, 2, 3, 4]);
});

test("what is done of several settlements is told by the reply", async () => {
  replies = [{ code: 250, text: "2.0.0 ebm=partly id=x done=10" }, done];
  const settle = () => control.ask("settle", { settlements: [{ queue: "a" }, { queue: "b" }] });
  expect(await settle()).toEqual({ done: [true, false] });
  expect(await settle()).toEqual({});
});

test("any other refusal is final", async () => {
  replies = [denied];
  await expect(ask()).rejects.toMatchObject({ code: "denied" });
  expect(numbers).toEqual([1]);
});

test("a question that was given up before its turn came keeps no other one waiting", async () => {
  let goOn: () => void = () => undefined;
  answering = new Promise((resolve) => (goOn = resolve));
  const first = ask();
  const over = new AbortController();
  const question = control.ask("removeQueue", { name: "q" }, { signal: over.signal });
  const last = ask();
  over.abort(new Error("not of interest any more"));
  await expect(question).rejects.toThrow("not of interest any more");
  goOn();
  await Promise.all([first, last]);
  expect(numbers).toHaveLength(2);
});
