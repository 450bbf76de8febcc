import { describe, expect, test } from "vitest";
import type { DirectoryRecord, PacketHeader } from "../../ebm/index.js";
import { FakeRegisters } from "../../mailbox/testing.js";
import type { Registers } from "../../replication/registers.js";
import type { MailboxName } from "../../shared/ids.js";
import { Directory } from "./directory.js";
import { controlLimits } from "./limits.js";
import { Contacts, ReadMarks } from "./lists.js";
import { PacketNumbers } from "./packet-numbers.js";
import { faultOf, parseAsk } from "./questions.js";
import { Room } from "./room.js";
import { Strangers } from "./strangers.js";

const user = "ann@ring.test" as MailboxName;
let nowMs = 0;
const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
const make = () => {
  const fake = new FakeRegisters();
  return { fake, registers: fake as unknown as Registers };
};

describe("packet numbers", () => {
  let nonces = 0;
  const random = {
    bytes: (n: number) => {
      nonces += 1;
      return Buffer.alloc(n, nonces);
    },
  };
  const header = (device: string, epoch: number, packet: number) =>
    ({ from: { user, device, epoch }, packet }) as unknown as PacketHeader;

  test("rise by device and epoch; an epoch that is over does not come back", async () => {
    const numbers = new PacketNumbers({ ...make(), clock, random });
    const note = (...of: Parameters<typeof header>) => numbers.note(user, header(...of));
    expect(await note("a", 1, 5)).toBe("new");
    expect([await note("a", 1, 5), await note("a", 1, 4)]).toEqual(["seen", "seen"]);
    expect([await note("b", 1, 1), await note("a", 1, 6)]).toEqual(["new", "new"]);
    expect([await note("a", 2, 1), await note("a", 1, 7)]).toEqual(["new", "seen"]);
    expect(await numbers.check(user, header("a", 2, 1))).toBe("seen");
    expect(await numbers.check(user, header("a", 2, 2))).toBe("new");
  });

  test("are kept of so many devices, and none is forgotten while it could come again", async () => {
    const { fake, registers } = make();
    const numbers = new PacketNumbers({ registers, clock, random });
    const { numberedDevicesMax } = controlLimits;
    for (let n = 0; n < numberedDevicesMax; n += 1) {
      expect(await numbers.note(user, header(`d${n}`, 1, 1))).toBe("new");
    }
    expect(await numbers.note(user, header("more", 1, 1))).toBe("full");
    expect(await numbers.note(user, header("d0", 1, 1))).toBe("seen");
    nowMs += controlLimits.questionMsMax + controlLimits.skewMs + 1;
    expect(await numbers.note(user, header("more", 1, 1))).toBe("new");
    expect(JSON.stringify(fake.values.get(`ebm:${user}`)).length).toBeLessThan(10_000);
  });
});

describe("the directory", () => {
  const record = (version: number, devices: readonly string[]) =>
    ({
      ...{ user, version, signature: `${version}`, signedBy: devices[0] },
      devices: devices.map((device) => ({ device, key: `key of ${device}` })),
    }) as unknown as DirectoryRecord;
  const found = async (directory: Directory) => {
    const answer = await directory.recall(user);
    if (answer.kind !== "entry") throw new Error(answer.kind);
    return answer.entry;
  };
  const create = () =>
    new Directory({ ...make(), clock, announceChanged: () => Promise.resolve() });
  const devicesOf = async (directory: Directory) => {
    nowMs += 10_000;
    return (await found(directory)).devices.map(({ device }) => device);
  };

  test("has the newest record as a whole, and believes the devices of the earlier ones", async () => {
    const directory = create();
    expect(await directory.put(user, record(2, ["a"]))).toBe("done");
    expect(await directory.put(user, record(1, ["b"]))).toBe("older");
    expect(await directory.put(user, record(3, ["b"]))).toBe("done");
    expect(await devicesOf(directory)).toEqual(["b", "a"]);
    expect((await found(directory)).record.devices).toHaveLength(1);
    await directory.removeDevice(user, "a");
    expect(await devicesOf(directory)).toEqual(["b"]);
  });

  test("who has logged in is believed, also when another device was faster", async () => {
    const directory = create();
    await directory.put(user, record(2, ["a"]));
    const late = { ...record(1, ["b", "c"]), signedBy: "b" };
    expect(await directory.admit(user, late)).toBe("done");
    expect(await devicesOf(directory)).toEqual(["b", "a"]);
    expect((await found(directory)).record.version).toBe(2);
  });

  test("takes the same record twice, and believes no more than 16 devices", async () => {
    const directory = create();
    for (let n = 1; n <= 20; n += 1) await directory.put(user, record(n, [`d${n}`]));
    expect(await directory.put(user, record(20, ["d20"]))).toBe("done");
    const devices = await devicesOf(directory);
    expect(devices).toHaveLength(controlLimits.devicesMax);
    expect(devices.slice(0, 2)).toEqual(["d20", "d19"]);
  });

  test("a record that names others makes none of them believed, and pushes out none", async () => {
    const directory = create();
    const { devicesMax } = controlLimits;
    for (let n = 1; n <= devicesMax; n += 1) await directory.put(user, record(n, [`d${n}`]));
    const former = Array.from({ length: devicesMax - 1 }, (_, n) => `former${n}`);
    await directory.put(user, record(100, ["d1", ...former]));
    const devices = await devicesOf(directory);
    expect(devices[0]).toBe("d1");
    expect(new Set(devices)).toEqual(new Set(Array.from(devices, (_, n) => `d${n + 1}`)));
    // Heard of last, it stays when another one comes.
    await directory.put(user, record(101, ["new"]));
    expect(await devicesOf(directory)).toEqual(["new", "d1", ...devices.slice(1, -1)]);
  });

  test("remembers for a while, unless it is told of a change", async () => {
    const { fake, registers } = make();
    const options = { registers, clock, announceChanged: () => Promise.resolve() };
    const [here, there] = [new Directory(options), new Directory(options)];
    await here.put(user, record(1, ["a"]));
    await there.recall(user);
    await here.put(user, record(2, ["a"]));
    expect((await found(there)).record.version).toBe(1);
    there.forget(`id:${user}`);
    expect((await found(there)).record.version).toBe(2);
    fake.silent.add("all");
    expect((await there.recall(user)).kind).toBe("entry");
    nowMs += 5_001;
    expect((await there.recall(user)).kind).toBe("undecided");
  });
});

describe("lists", () => {
  test("of contacts end at a thousand", async () => {
    const contacts = new Contacts(make().registers);
    const full = Array.from({ length: controlLimits.contactsMax }, (_, n) => `u${n}@ring.test`);
    for (const contact of full)
      expect(await contacts.add(user, { user: contact })).toEqual({ ok: true });
    expect(await contacts.add(user, { user: "more@ring.test" })).toMatchObject({ code: "full" });
    expect(await contacts.add(user, { user: "u7@ring.test", name: "Seven" })).toEqual({ ok: true });
    const read = await contacts.read(user);
    expect(read.ok && read.list.filter(({ name }) => name === "Seven")).toHaveLength(1);
  });

  test("of read mails keep the last 10,000, in 16 octets each", async () => {
    const { fake, registers } = make();
    const marks = new ReadMarks(registers);
    const id = (n: number) => n.toString(16).padStart(32, "0");
    const ids = Array.from({ length: controlLimits.readMarksMax }, (_, n) => id(n));
    await marks.add(user, ids);
    await marks.add(user, [id(3), id(20_000), id(20_000)]);
    const read = await marks.read(user);
    expect(read.ok && read.list).toEqual([...ids.slice(1), id(20_000)]);
    expect(JSON.stringify(fake.values.get(`read:${user}`)).length).toBeLessThan(220_000);
  });
});

describe("strangers", () => {
  test("are counted by their network, and all together", () => {
    const strangers = new Strangers({ windowMs: 100, perNetwork: 2, inAll: 3 }, clock);
    const take = (address: string) => strangers.take(address);
    expect([take("2001:db8::1"), take("2001:db8::2"), take("2001:db8::3")]).toEqual([
      ...[true, true, false],
    ]);
    expect([take("192.0.2.1"), take("192.0.2.2")]).toEqual([true, false]);
    nowMs += 100;
    expect(take("2001:db8::3")).toBe(true);
  });
});

describe("room", () => {
  test("is for so many octets at a time, in order, and for so many that wait", async () => {
    const room = new Room(10, 2);
    const began: number[] = [];
    const ends: (() => void)[] = [];
    const hold = (octets: number) =>
      room.hold(octets, () => {
        began.push(octets);
        return new Promise<number>((resolve) => ends.push(() => resolve(octets)));
      });
    const held = [hold(8), hold(7), hold(1), hold(1)];
    expect(await held[3]).toBe(undefined);
    expect(began).toEqual([8]);
    ends[0]?.();
    expect(await held[0]).toBe(8);
    await Promise.resolve();
    expect(began).toEqual([8, 7, 1]);
    for (const end of ends) end();
    expect(await Promise.all(held)).toEqual([8, 7, 1, undefined]);
    // Larger than all of it: alone.
    const large = hold(99);
    ends.at(-1)?.();
    expect(await large).toBe(99);
  });

  test("is given back by work that fails", async () => {
    const room = new Room(1, 1);
    await expect(room.hold(1, () => Promise.reject(new Error("x")))).rejects.toThrow("x");
    expect(await room.hold(1, () => Promise.resolve("y"))).toBe("y");
  });
});

describe("questions", () => {
  const entry = "0".repeat(32);
  test.each([
    ["quota", { anything: 1 }, {}],
    ["resolve", { user: "bob@ring.test", more: {} }, { user: "bob@ring.test" }],
    ["settle", { queue: "q", nack: [{ entry, delayMs: 5 }] }, undefined],
    ["bind", { exchange: "e", queue: "q", headers: { a: 1, b: true } }, undefined],
    ["declareQueue", { name: "q", exclusive: true, consumers: ["bob@ring.test"] }, undefined],
  ] as const)("%s %j is understood", (operation, ask, picked) => {
    expect(parseAsk(operation, ask)).toEqual(picked ?? ask);
  });

  test.each([
    ["resolve", {}],
    ["resolve", { user: "" }],
    ["resolve", { user: "a\nb" }],
    ["resolve", Object.create({ user: "inherited@ring.test" })],
    ["resolve", ["user"]],
    ["quota", null],
    ["login", { password: "x", record: {} }],
    ["markRead", { ids: ["../../etc/passwd"] }],
    ["markRead", { ids: { length: 1, 0: entry } }],
    ["settle", { queue: "q", ack: [entry.toUpperCase().replace("0", "A")] }],
    ["settle", { queue: "q", extend: [{ entry, ms: -1 }] }],
    ["settle", { queue: "q", nack: Array(10_001).fill({ entry, delayMs: 1 }) }],
    ["bind", { exchange: "e", queue: "q", headers: { a: {} } }],
    ["bind", JSON.parse('{"exchange":"e","queue":"q","headers":{"__proto__":"x"}}')],
    ["declareQueue", { name: "Q" }],
    ["declareQueue", { name: "q", leaseMs: Number.NaN }],
    ["declareExchange", { name: "e", type: "constructor" }],
  ] as const)("%s %j is not", (operation, ask) => {
    expect(parseAsk(operation, ask)).toBe(undefined);
  });

  test("who asked is told what of it is wrong", () => {
    expect(faultOf("declareQueue", { name: "My Queue" })).toBe(
      "declareQueue: name is not what it may be: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit",
    );
    expect(faultOf("declareQueue", { name: "q", leaseMs: 0 })).toBe(
      "declareQueue: leaseMs is not what it may be",
    );
    expect(faultOf("quota", null)).toBe("quota can't be asked so");
  });
});
