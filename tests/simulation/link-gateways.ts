/** What mail systems do to a mail on its way; each must leave it readable. */
export type Gateway = (mail: string, random: () => number) => string;

const crlf = "\r\n";

function splitPart(mail: string): { before: string; head: string; body: string; after: string } {
  const at = mail.search(/^Content-Type: application\/vnd\.ebm/m);
  const bodyAt = mail.indexOf(crlf + crlf, at) + 4;
  const endAt = mail.indexOf(`${crlf}--=_ebm`, bodyAt);
  return {
    before: mail.slice(0, at),
    head: mail.slice(at, bodyAt),
    body: mail.slice(bodyAt, endAt),
    after: mail.slice(endAt),
  };
}

const octetsOf = (body: string): Buffer => Buffer.from(body, "base64");

function quoted(octets: Buffer): string {
  let line = "";
  const lines: string[] = [];
  for (const octet of octets) {
    const char = String.fromCharCode(octet);
    const isPlain = octet > 32 && octet < 127 && octet !== 61 && octet !== 46 && octet !== 45;
    line += isPlain ? char : `=${octet.toString(16).toUpperCase().padStart(2, "0")}`;
    if (line.length > 70) {
      lines.push(`${line}=`);
      line = "";
    }
  }
  return [...lines, line].join(crlf);
}

export const gateways: Readonly<Record<string, Gateway>> = {
  prefix: (mail) => mail.replace(/^Subject: /m, "Subject: [EXTERNAL] "),
  folded: (mail) => mail.replace(/^(Subject: .{20})/m, `$1${crlf} `),
  rewrapped: (mail, random) => {
    const { before, head, body, after } = splitPart(mail);
    const width = 20 + Math.floor(random() * 900);
    const joined = body.replace(/\s/g, "");
    const lines = joined.match(new RegExp(`.{1,${width}}`, "g")) ?? [];
    return before + head + lines.join(crlf) + after;
  },
  quotedPrintable: (mail) => {
    const { before, head, body, after } = splitPart(mail);
    return before + head.replace("base64", "Quoted-Printable") + quoted(octetsOf(body)) + after;
  },
  footer: (mail) =>
    mail.replace(
      /--=_ebm--\r\n$/,
      [
        "--=_ebm",
        "Content-Type: text/plain",
        "",
        "Sent with =3D care -- by us",
        "--=_ebm--",
        "",
      ].join(crlf),
    ),
  epilogue: (mail) => `${mail}${crlf}-- ${crlf}This mail was scanned.${crlf}`,
  nested: (mail) => {
    const headEnd = mail.indexOf(crlf + crlf);
    const type = /^Content-Type: multipart.*$/m.exec(mail)?.[0] ?? "";
    const head = mail
      .slice(0, headEnd)
      .replace(type, 'Content-Type: multipart/mixed; boundary="outer"');
    const part = ["--outer", type, mail.slice(headEnd + 2)].join(crlf);
    return [
      head,
      "",
      "--outer",
      "Content-Type: text/plain",
      "",
      "Notice",
      part + "--outer--",
      "",
    ].join(crlf);
  },
  bareNewlines: (mail) => mail.replaceAll(crlf, "\n"),
  recased: (mail) =>
    mail
      .replace("Content-Type: application/vnd.ebm;", "CONTENT-TYPE:\r\n\tApplication/Vnd.Ebm;")
      .replace("Content-Transfer-Encoding: base64", "content-transfer-encoding:  BASE64 (yes)"),
  received: (mail) => `Received: from a by b; x${crlf} y${crlf}X-Spam: no${crlf}${mail}`,
  reordered: (mail) =>
    mail.replace(
      /(Content-Type: application\/vnd\.ebm[^\r]*\r\n)(Content-Transfer-Encoding: base64\r\n)/,
      "$2Content-Disposition: attachment; filename=packet.ebm\r\n$1",
    ),
};
