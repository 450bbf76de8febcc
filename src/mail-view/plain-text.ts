/** HTML without its tags, in one pass: enough to read, whatever the HTML is. */

const entities: Readonly<Record<string, string>> = {
  ...{ amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: " " },
};
const breaks = new Set(["br", "p", "div", "tr", "li", "h1", "h2", "h3", "h4", "table", "hr", "ul"]);
/** Elements whose content is no text. */
const silent = new Set(["script", "style", "head", "title"]);

export function plainText(html: string): string {
  const parts: string[] = [];
  let at = 0;
  while (at < html.length) {
    const open = html.indexOf("<", at);
    parts.push(html.slice(at, open < 0 ? html.length : open));
    if (open < 0) break;
    if (html.startsWith("<!--", open)) {
      at = after(html, "-->", open);
      continue;
    }
    const name = /^\/?([a-z][a-z0-9]*)/i.exec(html.slice(open + 1, open + 20))?.[1]?.toLowerCase();
    at = after(html, ">", open);
    if (name === undefined) continue;
    if (silent.has(name) && html[open + 1] !== "/") at = endOf(html, name, at);
    else if (breaks.has(name)) parts.push("\n");
  }
  return decoded(parts.join(""))
    .replaceAll(/[ \t]+/g, " ")
    .replaceAll(/\s*\n\s*\n\s*/g, "\n\n")
    .trim();
}

function after(html: string, token: string, from: number): number {
  const found = html.indexOf(token, from);
  return found < 0 ? html.length : found + token.length;
}

/** Behind the end of an element whose content is not for reading. */
function endOf(html: string, name: string, from: number): number {
  const pattern = new RegExp(`</${name}`, "gi");
  pattern.lastIndex = from;
  const found = pattern.exec(html);
  return found === null ? html.length : after(html, ">", found.index);
}

function decoded(text: string): string {
  return text.replaceAll(
    /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,6}));/gi,
    (whole, decimal, hex, name) => {
      if (typeof name === "string") return entities[name.toLowerCase()] ?? whole;
      const code = typeof decimal === "string" ? Number(decimal) : Number.parseInt(String(hex), 16);
      return code <= 0x10_ffff ? String.fromCodePoint(code) : whole;
    },
  );
}
