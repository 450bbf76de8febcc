/** `chord alias` and `chord domain`. */
import type { AliasReply } from "../shared/admin.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { formatTable } from "./table.js";
import type { World } from "./world.js";

export async function addAlias(
  world: World,
  alias: string,
  targets: readonly string[],
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  world.output.line(inWords(await entry.ask("aliasAdd", { alias, targets })));
}

export async function removeAlias(
  world: World,
  alias: string,
  targets: readonly string[],
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const reply = await entry.ask("aliasRemove", { alias, targets });
  world.output.line(targets.length === 0 ? `${reply.alias} removed` : inWords(reply));
}

export async function listAliases(world: World, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { aliases, complete } = await entry.ask("aliasList", {});
  const rows = aliases.map(({ alias, targets }) => [alias, targets.join(" ")]);
  const { output } = world;
  if (rows.length === 0) output.note("no aliases; add one with: chord alias add ALIAS TARGET");
  else
    for (const line of formatTable([{ title: "alias" }, { title: "leads to" }], rows))
      output.line(line);
  if (!complete) output.note("too few members answered: aliases may be missing here");
}

function inWords({ alias, targets }: AliasReply): string {
  return `${alias} leads to ${targets.join(", ")}`;
}

export async function addDomain(world: World, name: string, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { domain, changed } = await entry.ask("domainAdd", { domain: name });
  world.output.line(changed ? `${domain} is served now` : `${domain} is served already`);
}

export async function removeDomain(
  world: World,
  name: string,
  options: EntryOptions & { readonly force?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const { domain, changed } = await entry.ask("domainRemove", {
    domain: name,
    force: options.force === true,
  });
  world.output.line(changed ? `${domain} is not served any more` : `${domain} was not served`);
}

export async function listDomains(world: World, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { domains } = await entry.ask("domainList", {});
  for (const domain of domains) world.output.line(domain);
}
