/** The grammar of commands that take members out of the ring, and put copies right. */
import type { Command } from "commander";
import { evict, leave } from "./departures.js";
import { asking } from "./grammar.js";
import { repair, restore } from "./repairs.js";
import type { World } from "./world.js";

const leaveHelp = `
The data of the member is copied to the others first; the command shows how far that is, and the
member's process ends by itself when it is done. Interrupting the command changes nothing about that.
Refused when fewer than r + 1 members would be left, since everything would have fewer copies.`;

const evictHelp = `
For members that are gone. A majority of the ring decides, and the copies they had are made anew from
the others; the command shows how far that is. It waits when a range has too few living copies to be
sure of what was written last: start those members again, and it goes on.

--force gives up what only the evicted had: mails and changes of accounts of which no copy is left.
It tells how many mailboxes are concerned. Where the living are no majority of the ring, a majority
of those that are not named decides, so name all that are gone in one command. Never force out
members that may be alive behind a broken network: they could take mail and change accounts there.
Should one come back later, it joins anew, and the mail on its disk comes back with it.`;

const repairHelp = `
Compares the copies of a mailbox, or of all that the asked member keeps, and copies what one lacks
from the others; reads every stored body, checks its SHA-256, and gets damaged or missing ones from
another member. The ring does the first by itself every few seconds; the second it does only here.`;

const restoreHelp = `
chord restore ADDRESS --from ID copies what member ID has of the mailbox to the others that lack it.
Deletions win: what is deleted on any member stays deleted.

chord restore MESSAGE --from ID brings one deleted mail back. MESSAGE is its id, as in the reply
"250 2.0.0 <id>" or in UIDL. It gets a new id (clients see a new mail) with the same octets and the
same trace, and is there when the command says so. The mail is on a member's disk until its place is
reclaimed; if it is gone from one member, another one may have it still.`;

export function addDepartures(program: Command, world: World): void {
  asking(program.command("leave").description("take a member out, its data copied first"))
    .option("--id <id>", "the member (default: the one that is asked)")
    .option("--force", "also when everything will have fewer copies")
    .addHelpText("after", leaveHelp)
    .action((options) => leave(world, options));
  asking(program.command("evict <id...>").description("take out members that do not answer"))
    .option("--force", "give up what only they had: when they are gone for good")
    .addHelpText("after", evictHelp)
    .action((ids, options) => evict(world, ids, options));
}

export function addRepairs(program: Command, world: World): void {
  asking(program.command("repair [address]").description("make copies equal and check all bodies"))
    .addHelpText("after", repairHelp)
    .action((address, options) => repair(world, address, options));
  asking(
    program
      .command("restore <address-or-message>")
      .description("bring back what one member still has")
      .requiredOption("--from <id>", "the member that has it"),
  )
    .addHelpText("after", restoreHelp)
    .action((what, options) => restore(world, what, options));
}
