/** What can be known of the container files without an engine: that they fit the project. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { secretsFolder } from "../src/secrets/index.js";
import { type FlagTexts, loadNodeConfig, type OptionKey } from "../src/config/index.js";

const top = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(top, path), "utf8");

describe("Dockerfile", () => {
  const lines = read("docker/Dockerfile").split("\n");
  const copied = lines
    .filter((line) => line.startsWith("COPY ") && !line.includes("--from="))
    .flatMap((line) => line.split(" ").slice(1, -1));

  test("every path that is copied exists and is let into the build", () => {
    const letIn = read("docker/Dockerfile.dockerignore").split("\n");
    expect(copied.length).toBeGreaterThan(5);
    for (const path of copied) {
      expect(existsSync(join(top, path)), path).toBe(true);
      expect(letIn, path).toContain(`!${path}`);
    }
    for (const line of letIn.filter((text) => text.startsWith("!"))) {
      expect(copied, line).toContain(line.slice(1));
    }
  });

  test("the member does not run as root, and starts what the package calls chord", () => {
    const { bin } = JSON.parse(read("package.json")) as { bin: { chord: string } };
    expect(lines).toContain("USER node");
    expect(lines).toContain(`ENTRYPOINT ["node", "/app/${bin.chord}"]`);
  });
});

describe("compose.yaml", () => {
  const text = read("docker/compose.yaml");
  /** Each service's own part of the file, by its name. */
  const services = [...text.matchAll(/^ {2}(node\d):\n((?: {4,}.*\n)+)/gm)].map((match) => ({
    name: match[1] ?? "",
    body: match[2] ?? "",
  }));
  const list = (body: string, key: string): string[] =>
    JSON.parse(new RegExp(`^ +${key}: (\\[.*\\])$`, "m").exec(body)?.[1] ?? "[]") as string[];

  const command = (body: string): string[] =>
    (/ command: >-\n((?: {6}.*\n)+)/.exec(body)?.[1] ?? "").trim().split(/\s+/);

  test("is indented by twos, without tabs", () => {
    for (const line of text.split("\n")) expect(line).toMatch(/^(?: {2})*(?:\S.*)?$/);
  });

  test("has three members that a chord would start", async () => {
    expect(services.map(({ name }) => name)).toEqual(["node1", "node2", "node3"]);
    for (const { name, body } of services) {
      const config = await loadNodeConfig(flags(command(body)));
      expect(config.addr).toBe(`${name}.ring:5000`);
      expect(config.dataDir).toBe("/data");
      expect(body).toContain(`RINGPOST_ENTRY: ${config.addr}`);
      expect(body).toContain(`aliases: [${name}.ring]`);
      expect(list(body, "volumes")[0]).toBe(`${name}:/data`);
      for (const port of list(body, "ports"))
        expect(port).toMatch(/^127\.0\.0\.1:\d+:(5025|5110)$/);
    }
    const ports = services.flatMap(({ body }) => list(body, "ports"));
    expect(new Set(ports.map((port) => port.split(":")[1])).size).toBe(6);
  });

  test("the first member founds the ring, the others wait for it and join", async () => {
    const entries = await Promise.all(
      services.map(async ({ body }) => (await loadNodeConfig(flags(command(body)))).entries),
    );
    expect(entries[0]).toEqual([]);
    for (const others of entries.slice(1)) expect(others[0]).toBe("node1.ring:5000");
    for (const { name, body } of services) {
      const { credentialsDir } = await loadNodeConfig(flags(command(body)));
      // Read-only, and where the option says that the founder's secrets are: in its /data.
      const founders = list(body, "volumes").slice(1);
      expect(founders).toEqual(name === "node1" ? [] : ["node1:/founder:ro"]);
      expect(credentialsDir).toBe(name === "node1" ? undefined : secretsFolder("/founder"));
    }
    const waiting = services.filter(({ body }) => /depends_on:\n +node1:\n/.test(body));
    expect(waiting.map(({ name }) => name)).toEqual(["node2", "node3"]);
  });

  test("names a Dockerfile that is there", () => {
    const dockerfile = /dockerfile: (\S+)/.exec(text)?.[1] ?? "";
    expect(existsSync(join(top, dockerfile))).toBe(true);
  });
});

function flags(args: readonly string[]): FlagTexts {
  const texts: { [K in OptionKey]?: readonly string[] } = {};
  for (let at = 0; at < args.length; at += 2) {
    texts[(args[at] ?? "").replace(/^--/, "") as OptionKey] = [args[at + 1] ?? ""];
  }
  return texts;
}
