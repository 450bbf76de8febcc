/** How many copies there are, told by all members together. */
import type { Replication } from "../replication/replication.js";
import type { CopiesReply } from "../shared/admin.js";

const surveyDeadlineMs = 8_000;

export async function surveyAll(replication: Replication): Promise<CopiesReply> {
  const { roster, groups, heartbeat, membership } = replication;
  const answering = roster.members.filter(
    ({ uuid, lost }) => !lost && (uuid === membership.self.uuid || !heartbeat.isQuiet(uuid)),
  );
  const replies = await Promise.all(
    answering.map((member) =>
      groups.askMember(member, "survey", { epoch: roster.epoch }, { deadlineMs: surveyDeadlineMs }),
    ),
  );
  const byCopies: number[] = [];
  let withoutQuorum = 0;
  let complete = true;
  for (const reply of replies) {
    if (reply?.kind !== "survey") {
      complete = false;
      continue;
    }
    withoutQuorum += reply.withoutQuorum;
    for (const [copies, keys] of reply.byCopies.entries()) {
      while (byCopies.length <= copies) byCopies.push(0);
      byCopies[copies] = (byCopies[copies] ?? 0) + keys;
    }
  }
  const keys = byCopies.reduce((sum, some) => sum + some, 0);
  return { wanted: roster.ring.replicas + 1, keys, byCopies, withoutQuorum, complete };
}
