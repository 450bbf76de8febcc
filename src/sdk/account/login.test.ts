import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { SessionAnswer } from "../../ebm/index.js";
import type { Control } from "../control/control.js";
import { RingpostError } from "../errors.js";
import { Login } from "./login.js";
import type { OwnRecord } from "./own-record.js";
import { Session } from "./session.js";

const lifeMs = 60_000;

beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) }));
afterEach(() => void vi.useRealTimers());

/** A ring that knows one password, and gives out tokens for a minute. */
class World {
  readonly asked: string[] = [];
  password = "wonderland";
  isUp = true;
  #tokens = 0;
  #valid = { token: "", untilMs: 0 };
  readonly session = new Session(Date.now);
  renewed = 0;
  nameAllDevices: () => Promise<void> = () => Promise.resolve();
  readonly login = new Login({
    control: { ask: (operation: string, ask: object) => this.#ask(operation, ask) } as Control,
    session: this.session,
    record: {
      put: (put: (record: object) => Promise<void>) => put({}),
      believed: () => undefined,
      nameAllDevices: () => this.nameAllDevices(),
      watch: () => undefined,
      close: () => undefined,
    } as unknown as OwnRecord,
    learn: () => undefined,
    renewed: () => void (this.renewed += 1),
    signal: new AbortController().signal,
  });

  /** Another program of the user has logged out. */
  void(): void {
    this.#valid.untilMs = 0;
  }

  #ask(operation: string, ask: object): Promise<SessionAnswer> {
    this.asked.push(operation);
    if (!this.isUp) return Promise.reject(new RingpostError("unreachable", "no server", true));
    const isLogin = operation === "login" || operation === "register";
    const isGranted = isLogin
      ? (ask as { password: string }).password === this.password
      : this.session.token === this.#valid.token && Date.now() < this.#valid.untilMs;
    if (!isGranted) return Promise.reject(new RingpostError("denied", "no", false));
    if (!isLogin && operation !== "refresh") return Promise.resolve({} as SessionAnswer);
    this.#tokens += 1;
    this.#valid = { token: `token ${this.#tokens}`, untilMs: Date.now() + lifeMs };
    const { token, untilMs: expiresAtMs } = this.#valid;
    const answer = { token, expiresAtMs, ringKeys: {}, servers: [], user: "alice@ring.test" };
    return Promise.resolve({ ...answer, ring: "ring@ring.test", broker: "ring+data@ring.test" });
  }
}

test("a token is refreshed before its end, again and again", async () => {
  const { login, asked, session } = new World();
  await login.enter("login", "wonderland");
  await vi.advanceTimersByTimeAsync(2.9 * lifeMs);
  expect(asked).toEqual(["login", "refresh", "refresh", "refresh"]);
  // Never over in between: nothing was asked twice.
  await login.ask("quota", {});
  expect(asked.slice(4)).toEqual(["quota"]);
  expect(session.token).toBe("token 4");
  login.close();
});

test("offline past the end of the token: the next question logs in again, once for all", async () => {
  const world = new World();
  await world.login.enter("login", "wonderland");
  world.isUp = false;
  await vi.advanceTimersByTimeAsync(2 * lifeMs);
  expect(world.asked).toContain("refresh");
  world.isUp = true;
  world.asked.length = 0;
  await Promise.all([world.login.ask("quota", {}), world.login.ask("listContacts", {})]);
  expect(world.asked).toEqual(["quota", "listContacts", "login", "quota", "listContacts"]);
  expect(world.renewed).toBe(1);
  world.login.close();
});

test("a renewal ends although what follows it is denied as well", async () => {
  const world = new World();
  await world.login.enter("login", "wonderland");
  world.void();
  // Another program's login takes the token away once more, just when the record is looked at.
  let times = 0;
  world.nameAllDevices = async () => {
    times += 1;
    if (times === 1) world.void();
    await world.login.ask("resolve", { user: "alice@ring.test" });
  };
  await Promise.race([
    world.login.ask("quota", {}).catch(() => undefined),
    vi.advanceTimersByTimeAsync(lifeMs).then(() => Promise.reject(new Error("it hangs"))),
  ]);
  expect(world.asked.filter((one) => one === "login").length).toBeGreaterThan(1);
  world.login.close();
});

test("with another password by then: denied, as typed errors are", async () => {
  const world = new World();
  await world.login.enter("login", "wonderland");
  world.void();
  world.password = "changed";
  const failure = await world.login.ask("quota", {}).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(RingpostError);
  expect(failure).toMatchObject({ code: "denied", retryable: false });
  world.login.close();
});

test("whatever is denied is tried again after a login, what fails otherwise is not", async () => {
  const world = new World();
  await world.login.enter("login", "wonderland");
  let tries = 0;
  const use = (code: "denied" | "full") => () => {
    tries += 1;
    return tries % 2 === 1 ? Promise.reject(new RingpostError(code, "no", false)) : "done";
  };
  expect(await world.login.renewing(use("denied") as () => Promise<string>)).toBe("done");
  await expect(world.login.renewing(use("full") as () => Promise<string>)).rejects.toMatchObject({
    code: "full",
  });
  expect(world.asked).toEqual(["login", "login"]);
  world.login.close();
});

test("logging out with a void token takes the device off with a new one; then nobody is logged in", async () => {
  const world = new World();
  await world.login.enter("login", "wonderland");
  world.void();
  await world.login.leave();
  expect(world.asked).toEqual(["login", "logout", "login", "logout"]);
  expect(world.session.token).toBeUndefined();
  expect(() => world.login.credentials).toThrow(RingpostError);
  await vi.advanceTimersByTimeAsync(2 * lifeMs);
  expect(world.asked).toHaveLength(4);
});

test("what is denied while logging out does not log in again: that would put the device back", async () => {
  const world = new World();
  await world.login.enter("login", "wonderland");
  world.asked.length = 0;
  const leaving = world.login.leave();
  const denied = world.login.renewing(() =>
    Promise.reject(new RingpostError("denied", "no", false)),
  );
  await expect(denied).rejects.toMatchObject({ code: "denied" });
  await leaving;
  expect(world.asked).toEqual(["logout"]);
});
