import { bugs } from "./replication-bugs.js";
import { simulate } from "./replication-scenario.js";
const only = process.argv[2];
for (const { name, options, finding } of bugs) {
  if (only && !name.includes(only)) continue;
  const found: number[] = [];
  let other = new Set<string>();
  const t = performance.now();
  for (let seed = 1; seed <= 12; seed++) {
    const { violations } = await simulate({ seed, ...options });
    if (violations.some((v) => finding.test(v))) found.push(seed);
    for (const v of violations) if (!finding.test(v)) other.add(v.slice(0, 90));
  }
  console.log(
    name,
    "|",
    found.join(" "),
    "|",
    Math.round(performance.now() - t),
    "ms",
    [...other].slice(0, 3),
  );
}
