import { spawnSync } from "node:child_process";
import { afterEach, expect, test } from "vitest";
import type { MemberStatus, StatusReply } from "../shared/admin.js";
import { autoconfig } from "./autoconfig.js";
import { main } from "./main.js";
import { fakeWorld } from "./testing.js";
import type { DnsMember } from "./zone.js";

const addr = "127.0.0.1:5000";

function member(id: string, host: string, more: object = {}): MemberStatus {
  return {
    ...{ id, addr: `${host}:5000`, uuid: `u${id}`, state: "active", successors: [], fingers: [] },
    ...{ keysOwned: 0, keysCopied: 0, messages: 0, rosterEpoch: 1 },
    ...{ smtp: "0.0.0.0:25", pop3: "0.0.0.0:110", ...more },
  };
}

let served = ["ring.test"];
afterEach(() => {
  served = ["ring.test"];
});

async function dns(members: readonly MemberStatus[], ...argv: string[]) {
  const reply: StatusReply = {
    ring: { bits: 8, replicas: 2, domain: "ring.test" },
    ...{ rosterEpoch: 1, members, notices: [] },
    copies: { wanted: 3, keys: 0, byCopies: [], withoutQuorum: 0, complete: true },
  };
  const world = fakeWorld({
    members: { [addr]: { status: () => reply, domainList: () => ({ domains: served }) } },
  });
  const code = await main(["dns", "--entry", addr, ...argv], world);
  return { code, lines: world.stdoutLines, errors: world.stderrLines };
}

/** Records without what is between their fields. */
const records = (lines: readonly string[]) =>
  lines
    .filter((line) => line !== "" && !line.startsWith(";"))
    .map((line) => line.split(/\s+/).join(" "));

const tls = { submission: "0.0.0.0:587", submissions: "0.0.0.0:465", pop3s: "[::]:995" };

test("a zone to paste: MX, addresses, services, SPF and autoconfig", async () => {
  const { code, lines } = await dns([
    member("200", "mail.example.org", tls),
    member("7", "192.0.2.7", tls),
    member("9", "[2001:db8::9]"),
    { ...member("8", "192.0.2.8"), state: "unreachable" },
  ]);
  expect(code).toBe(0);
  expect(records(lines)).toEqual([
    "$ORIGIN ring.test.",
    "$TTL 3600",
    "@ IN MX 10 mx1.ring.test.",
    "@ IN MX 10 mx2.ring.test.",
    "@ IN MX 10 mail.example.org.",
    "mx1 IN A 192.0.2.7",
    "mx2 IN AAAA 2001:db8::9",
    "_submissions._tcp IN SRV 0 1 465 mx1.ring.test.",
    "_submissions._tcp IN SRV 0 1 465 mail.example.org.",
    "_submission._tcp IN SRV 10 1 587 mx1.ring.test.",
    "_submission._tcp IN SRV 10 1 587 mail.example.org.",
    "_pop3s._tcp IN SRV 0 1 995 mx1.ring.test.",
    "_pop3s._tcp IN SRV 0 1 995 mail.example.org.",
    "_pop3._tcp IN SRV 10 1 110 mx1.ring.test.",
    "_pop3._tcp IN SRV 10 1 110 mx2.ring.test.",
    "_pop3._tcp IN SRV 10 1 110 mail.example.org.",
    '@ IN TXT "v=spf1 mx ~all"',
    "autoconfig IN CNAME mx1.ring.test.",
  ]);
  expect(lines.join("\n")).not.toContain("WARNING");
});

test("a service that nobody has is said not to be there (RFC 6186 §3.4)", async () => {
  const { lines } = await dns([member("1", "192.0.2.1")]);
  expect(records(lines)).toContain("_submissions._tcp IN SRV 0 0 0 .");
  expect(records(lines)).toContain("_pop3s._tcp IN SRV 0 0 0 .");
});

test("what others can't reach is pointed out", async () => {
  const { lines } = await dns([member("1", "127.0.0.1", { smtp: "127.0.0.1:5025" })]);
  const warnings = lines.filter((line) => line.startsWith("; WARNING"));
  expect(warnings).toEqual([
    expect.stringMatching(/loopback/),
    expect.stringMatching(/port 25.*5025/),
  ]);
});

test("each domain that the ring serves has a zone", async () => {
  served = ["ring.test", "a.test"];
  const { lines } = await dns([member("1", "192.0.2.1")]);
  const origins = lines.filter((line) => line.startsWith("$ORIGIN"));
  expect(origins).toEqual(["$ORIGIN ring.test.", "$ORIGIN a.test."]);
});

test.each(["a b", "a\n@ IN A 1.2.3.4", "é.test", ""])("%j gets into no zone", async (domain) => {
  served = ["ring.test", domain];
  const { code, lines, errors } = await dns([member("1", "192.0.2.1")]);
  expect([code, lines]).toEqual([1, []]);
  expect(errors).toHaveLength(1);
});

/** What an XML parser reads: tag, attributes, text of each element. */
function parsed(xml: string): [tag: string, attributes: Record<string, string>, text: string][] {
  const program = `
import json, sys, xml.etree.ElementTree as e
root = e.fromstring(sys.stdin.buffer.read())
print(json.dumps([[x.tag, x.attrib, (x.text or "").strip()] for x in root.iter()]))`;
  const run = spawnSync("python3", ["-c", program], { input: xml });
  if (run.status !== 0) throw new Error(run.stderr.toString());
  return JSON.parse(run.stdout.toString()) as ReturnType<typeof parsed>;
}

test("autoconfig: well-formed, each way in with its port and kind of TLS", async () => {
  const { lines } = await dns([member("1", "192.0.2.1", tls)], "--autoconfig");
  const elements = parsed(lines.join("\n"));
  expect(elements.slice(0, 3)).toEqual([
    ["clientConfig", { version: "1.1" }, ""],
    ["emailProvider", { id: "ring.test" }, ""],
    ["domain", {}, "ring.test"],
  ]);
  const servers = lines.join("").match(/<(?:in|out)\w+Server type="\w+">.*?<\/\w+Server>/g) ?? [];
  const read = servers.map((xml) => {
    const [server, ...fields] = parsed(xml);
    return [server?.[0], server?.[1]["type"], ...fields.map(([, , text]) => text)].join(" ");
  });
  const login = "%EMAILADDRESS% password-cleartext";
  expect(read).toEqual([
    `incomingServer pop3 mx1.ring.test 995 SSL ${login}`,
    `incomingServer pop3 mx1.ring.test 110 STARTTLS ${login}`,
    `outgoingServer smtp mx1.ring.test 465 SSL ${login}`,
    `outgoingServer smtp mx1.ring.test 587 STARTTLS ${login}`,
  ]);
});

test("autoconfig: whatever a name is, it stays text", () => {
  const ports = { smtp: 25, pop3: 110, submission: undefined, submissions: undefined, pop3s: 995 };
  const nasty = `a"b'<c>&amp;]]>\u0001`;
  const member: DnsMember = { label: "mx1", host: nasty, ports };
  const elements = parsed(autoconfig(nasty, [nasty], [member]).join("\n"));
  const shown = nasty.replace("\u0001", "\ufffd");
  expect(elements[1]?.[1]).toEqual({ id: shown });
  expect(elements.filter(([, , text]) => text === shown).length).toBe(5);
});
