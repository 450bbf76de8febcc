/** A certificate authority for one test, and a certificate of it for loopback. Needs `openssl`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runOk } from "./process.js";

export interface TestCertificate {
  /** PEM files. */
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export async function makeCertificate(folder: string): Promise<TestCertificate> {
  const at = (name: string): string => join(folder, name);
  const ca = ["-subj", "/CN=test authority", "-days", "2", "-keyout", at("ca.key")];
  await runOk("openssl", ["req", "-x509", ...curve, ...ca, "-out", at("ca.pem")]);
  const request = ["-subj", "/CN=localhost", "-keyout", at("key.pem"), "-out", at("request.pem")];
  await runOk("openssl", ["req", ...curve, ...request]);
  const names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3";
  writeFileSync(at("names"), `${names}\n`);
  const signing = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "2"];
  const files = ["-in", at("request.pem"), "-extfile", at("names"), "-out", at("cert.pem")];
  await runOk("openssl", ["x509", "-req", ...signing, ...files]);
  return { caFile: at("ca.pem"), certFile: at("cert.pem"), keyFile: at("key.pem") };
}
