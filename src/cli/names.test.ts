import { describe, expect, test } from "vitest";
import type { UserReply } from "../shared/admin.js";
import { main } from "./main.js";
import { type FakeMember, fakeWorld } from "./testing.js";

const home = "127.0.0.1:5000";

async function run(line: string, member: FakeMember) {
  const world = fakeWorld({ members: { [home]: member } });
  const code = await main(line.split(" "), world);
  const { stdoutLines: out, stderrLines: err, calls } = world;
  return { code, out, err, calls: calls.map((call) => call.slice(home.length + 1)) };
}

const sales = { alias: "sales@ring.test", targets: ["alice@ring.test", "bob@ring.test"] };

describe("alias", () => {
  test.each([
    [
      "alias add sales alice bob",
      'aliasAdd {"alias":"sales","targets":["alice","bob"]}',
      "sales@ring.test leads to alice@ring.test, bob@ring.test",
    ],
    [
      "alias remove sales cyd",
      'aliasRemove {"alias":"sales","targets":["cyd"]}',
      "sales@ring.test leads to alice@ring.test, bob@ring.test",
    ],
    ["alias remove sales", 'aliasRemove {"alias":"sales","targets":[]}', "sales@ring.test removed"],
  ])("%s", async (line, call, says) => {
    const { code, out, calls } = await run(line, {
      aliasAdd: () => sales,
      aliasRemove: () => sales,
    });
    expect([code, calls, out]).toEqual([0, [call], [says]]);
  });

  test("list, and that some may be missing", async () => {
    const whole = await run("alias list", {
      aliasList: () => ({ aliases: [sales], complete: true }),
    });
    expect(whole.out).toEqual([
      "alias            leads to",
      "sales@ring.test  alice@ring.test bob@ring.test",
    ]);
    expect(whole.err).toEqual([]);
    const part = await run("alias list", { aliasList: () => ({ aliases: [], complete: false }) });
    expect(part.out).toEqual([]);
    expect(part.err.at(-1)).toMatch(/may be missing/);
  });
});

describe("domain", () => {
  test.each([
    ["domain add B.test", true, 'domainAdd {"domain":"B.test"}', "b.test is served now"],
    ["domain add B.test", false, 'domainAdd {"domain":"B.test"}', "b.test is served already"],
    [
      "domain remove B.test",
      true,
      'domainRemove {"domain":"B.test","force":false}',
      "b.test is not served any more",
    ],
    [
      "domain remove B.test --force",
      false,
      'domainRemove {"domain":"B.test","force":true}',
      "b.test was not served",
    ],
  ])("%s (changed: %s)", async (line, changed, call, says) => {
    const reply = () => ({ domain: "b.test", changed });
    const { code, out, calls } = await run(line, { domainAdd: reply, domainRemove: reply });
    expect([code, calls, out]).toEqual([0, [call], [says]]);
  });

  test("list", async () => {
    const { out } = await run("domain list", { domainList: () => ({ domains: ["a.test", "b"] }) });
    expect(out).toEqual(["a.test", "b"]);
  });
});

describe("user", () => {
  test.each([
    ["--size 1G", '{"name":"al","octets":1073741824}'],
    ["--size none --messages 5", '{"name":"al","octets":null,"messages":5}'],
    ["none", '{"name":"al","octets":null,"messages":null}'],
    ["default", '{"name":"al","standard":true}'],
  ])("quota %s", async (words, args) => {
    const { calls, out } = await run(`user quota al ${words}`, {
      userQuota: () => ({ mailbox: "al@b", quota: { own: true, octets: 2 ** 20, messages: 1 } }),
    });
    expect(calls).toEqual([`userQuota ${args}`]);
    expect(out).toEqual(["al@b has the quota 1 mail, 1.0 MiB"]);
  });

  test.each([
    ["disable", true],
    ["enable", false],
  ])("%s", async (verb, disabled) => {
    const { calls } = await run(`user ${verb} al`, { userDisable: () => ({ mailbox: "al@b" }) });
    expect(calls).toEqual([`userDisable {"name":"al","disabled":${disabled}}`]);
  });

  test("show", async () => {
    const reply: UserReply = {
      mailbox: "al@b",
      disabled: true,
      createdAtMs: Date.UTC(2026, 0, 2, 3, 4),
      quota: { own: false, messages: 10_000 },
      usage: { octets: 2_048, messages: 2 },
      appPasswords: [{ id: "7f", label: "phone", createdAtMs: 0 }],
      aliases: ["sales@b", "info@b"],
      complete: true,
    };
    const { out } = await run("user show al", { userShow: () => reply });
    expect(out).toEqual([
      "al@b",
      "  state          disabled: no logins, no mail",
      "  created        2026-01-02 03:04 UTC",
      "  holds          2 mails, 2.0 KiB",
      "  quota          10,000 mails (default)",
      "  app passwords  phone (7f)",
      "  aliases        sales@b",
      "                 info@b",
    ]);
    const json = await run("user show al --json", { userShow: () => reply });
    expect(JSON.parse(json.out.join())).toEqual(reply);
  });
});
