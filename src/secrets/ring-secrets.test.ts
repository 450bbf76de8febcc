import { X509Certificate } from "node:crypto";
import { chmodSync, copyFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeClusterCa } from "./certificates.js";
import { adoptRing, foundRing, readCa, readCredentials } from "./ring-secrets.js";
import { folderForTests } from "./testing.js";

const top = folderForTests();
let count = 0;
const fresh = (): string => join(top, `s${(count += 1)}`);
const uuid = "0fd7de1c-8a9b-4c5d-9e0f-112233445566";
const other = "11111111-2222-4333-8444-555555555555";

describe("founding and joining", () => {
  test("founder and joiner have certificates of one CA, each with its own uuid", async () => {
    const [first, second] = [fresh(), fresh()];
    const founder = await foundRing(first, uuid);
    const ca = await readCa(first);
    if (ca === undefined) throw new Error("no CA");
    const joiner = await adoptRing(second, ca, other);
    expect(joiner.caPem).toBe(founder.caPem);
    const issuer = new X509Certificate(founder.caPem);
    for (const [credentials, name] of [
      [founder, uuid],
      [joiner, other],
    ] as const) {
      const cert = new X509Certificate(credentials.certPem);
      expect(cert.verify(issuer.publicKey)).toBe(true);
      expect(cert.ca).toBe(false);
      expect(cert.subjectAltName).toBe(`URI:urn:uuid:${name}`);
    }
    expect(await readCredentials(first, uuid)).toEqual(founder);
    expect(await readCredentials(second, other)).toEqual(joiner);
    // Who has joined can take in the next.
    expect(await readCa(second)).toEqual(ca);
  });

  test("certificates outlive every clock: from 2000 to what stands for never", async () => {
    const { caPem, certPem } = await foundRing(fresh(), uuid);
    for (const pem of [caPem, certPem]) {
      const { validFrom, validTo } = new X509Certificate(pem);
      expect(new Date(validFrom).toISOString()).toBe("2000-01-01T00:00:00.000Z");
      expect(new Date(validTo).toISOString()).toBe("9999-12-31T23:59:59.000Z");
    }
  });

  test("rings are strangers to each other, by name and by key", async () => {
    const [one, two] = [
      new X509Certificate((await makeClusterCa()).certPem),
      await makeClusterCa(),
    ];
    const second = new X509Certificate(two.certPem);
    expect(one.subject).not.toBe(second.subject);
    expect(one.fingerprint256).not.toBe(second.fingerprint256);
  });
});

describe("reading", () => {
  test("nothing there is no error; a half is", async () => {
    const folder = fresh();
    expect(await readCredentials(folder)).toBeUndefined();
    expect(await readCa(folder)).toBeUndefined();
    await foundRing(folder, uuid);
    rmSync(join(folder, "member.key"));
    await expect(readCredentials(folder)).rejects.toThrow("member.key is missing");
  });

  test("a cut before the last file leaves nothing that counts", async () => {
    const folder = fresh();
    await foundRing(folder, uuid);
    rmSync(join(folder, "member.crt"));
    expect(await readCredentials(folder, uuid)).toBeUndefined();
  });

  test("a file that others may read is named, whichever it is", async () => {
    const folder = fresh();
    await foundRing(folder, uuid);
    for (const name of readdirSync(folder)) {
      chmodSync(join(folder, name), 0o644);
      const both = Promise.all([readCredentials(folder), readCa(folder)]);
      await expect(both, name).rejects.toThrow(`chmod 600 ${join(folder, name)}`);
      chmodSync(join(folder, name), 0o600);
    }
  });

  test("what does not belong together is told apart", async () => {
    const [folder, foreign] = [fresh(), fresh()];
    await foundRing(folder, uuid);
    await foundRing(foreign, other);
    await expect(readCredentials(folder, other)).rejects.toThrow("of another member");
    const put = (name: string) => copyFileSync(join(foreign, name), join(folder, name));
    put("ca.key");
    await expect(readCa(folder)).rejects.toThrow("is not the key of ca.crt");
    put("ca.crt");
    await expect(readCredentials(folder, uuid)).rejects.toThrow("not signed by the CA");
    put("member.crt");
    await expect(readCredentials(folder)).rejects.toThrow("does not fit the key");
  });
});
