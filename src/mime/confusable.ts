/**
 * Letters and digits that look like one ASCII letter or digit (UTS 39). Made with ICU's
 * `uspoof_getSkeleton`, Unicode 15, from all that a name may consist of in the recommended scripts.
 */
const lookAlikes: Readonly<Record<string, string>> = {
  "6": "\u0431",
  "8": "\u0223\u09EA\u0A6A\u0B03",
  "9": "\u09ED\u0A67\u0B68\u0D6D",
  a: "\u0251\u03B1\u0430",
  c: "\u0441\u1D04",
  d: "\u0501",
  e: "\u0435\u04BD\uAB32",
  f: "\u0584\u1E9D\uA799\uAB35",
  g: "\u018D\u0261\u0581\u1D83",
  h: "\u04BB\u0570",
  i: "\u0131\u0269\u026A\u03B9\u0456\u04CF\uA647",
  j: "\u03F3\u0458",
  l: "\u01C0\u05D5\u05DF\u0627\u0661\u06F1",
  n: "\u0578\u057C",
  o:
    "\u03BF\u03C3\u043E\u0585\u05E1\u0647\u0665\u06BE\u06C1\u06D5\u06F5\u0966\u09E6\u0A66\u0AE6" +
    "\u0B20\u0B66\u0BE6\u0C02\u0C66\u0C82\u0CE6\u0D02\u0D20\u0D66\u0D82\u0E50\u0ED0\u101D\u1040" +
    "\u10FF\u12D0\u1D0F\u1D11\uAB3D",
  p: "\u03C1\u0440",
  q: "\u051B\u0563\u0566",
  r: "\u0433\u1D26\uAB47\uAB48",
  s: "\u01BD\u0455\uA731",
  u: "\u028B\u03C5\u057D\u1200\u1D1C\uA79F\uAB4E\uAB52",
  v: "\u03BD\u0475\u05D8\u0667\u06F7\u1D20",
  w: "\u026F\u0461\u051D\u0561\u1D21",
  x: "\u0445",
  y: "\u0263\u028F\u03B3\u0443\u04AF\u10E7\u1D8C\u1EFF\uAB5A",
  z: "\u1D22",
};

const asciiOf = new Map(
  Object.entries(lookAlikes).flatMap(([ascii, letters]) =>
    [...letters].map((letter) => [letter, ascii] as const),
  ),
);

/** The ASCII name that a canonical name of other letters can be taken for; undefined: none. */
export function asciiLookAlike(name: string): string | undefined {
  let shown = "";
  for (const letter of name) {
    const ascii = /[\x21-\x7e]/.test(letter) ? letter : asciiOf.get(letter);
    if (ascii === undefined) return undefined;
    shown += ascii;
  }
  return shown === name ? undefined : shown;
}
