/** The link's carrier: finds out where a packet goes, and hands it to a mail server. */
import type { SessionAnswer } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import type { Carrier, Outgoing, Submission } from "../link/ports.js";
import type { Post } from "../transport/post.js";
import { ringWord, type SmtpReply } from "../transport/reply.js";
import type { Directory } from "./directory.js";

export interface CourierOptions {
  readonly post: Post;
  readonly directory: Directory;
  /** @throws RingpostError `loginNeeded` */
  readonly session: () => SessionAnswer;
  /** The sender's own address. */
  readonly address: string;
  /** Something was sent. `isAnswered`: what became of it was in the reply, and no mail will tell. */
  readonly sent: (isAnswered: boolean) => void;
  /** Tries a second time after a login, where `denied` is thrown. */
  readonly renewing: <T>(use: () => Promise<T>) => Promise<T>;
}

export function createCourier(options: CourierOptions): Carrier {
  return {
    async submit(outgoing): Promise<Submission> {
      try {
        const reply = await options.renewing(() => send(options, outgoing));
        const { code, text } = reply;
        options.sent(ringWord(reply)?.kind === "taken");
        return { kind: "reply", code, text };
      } catch (error) {
        return submissionOf(error);
      }
    },
  };
}

async function send(options: CourierOptions, outgoing: Outgoing): Promise<SmtpReply> {
  const { post, directory, address: from } = options;
  const session = options.session();
  const { token } = session;
  if (outgoing.to === session.ring) {
    const to = session.broker;
    const octets = () => outgoing.mail({ from, to, token });
    const reply = await post.toRing(() => ({ from, to: [to], octets: octets() }));
    const word = ringWord(reply);
    if (word?.kind !== "refused" || word.code !== "denied") return reply;
    throw new RingpostError("denied", word.why, false);
  }
  const { to, isOfRing } = await whereTo(options, outgoing.to);
  const make = () => ({ from, to: [to], octets: outgoing.mail({ from, to }) });
  const reply = await (isOfRing || domainOf(to) === domainOf(session.ring)
    ? post.toRing(make)
    : post.submit(make, { user: session.user, token }));
  // They may have moved: the next try asks where to.
  if (reply.code >= 500) directory.forget(outgoing.to);
  return reply;
}

/**
 * Whoever has never logged in by the SDK has no record, and may have an account: the message waits in its
 * maildrop `data` for the first login. If there is no account either, the mail is refused at once.
 */
async function whereTo(
  { post, directory, session }: CourierOptions,
  user: string,
): Promise<{ readonly to: string; readonly isOfRing: boolean }> {
  try {
    const { addresses } = await directory.resolve(user);
    return { to: addresses[0] ?? user, isOfRing: false };
  } catch (error) {
    if (!(error instanceof RingpostError) || error.code !== "unknown") throw error;
    // Members relay for nobody who has not logged in; a provider would, to a stranger.
    if (post.isElsewhere && domainOf(user) !== domainOf(session().ring)) throw error;
    return { to: dataAddressOf(user), isOfRing: true };
  }
}

function submissionOf(error: unknown): Submission {
  const why = error instanceof Error ? error.message : String(error);
  const code = error instanceof RingpostError ? error.code : undefined;
  if (code === "unknown") return { kind: "reply", code: 550, text: `5.1.1 ${why}` };
  // Of the session, not of the message: it waits for the next login.
  if (code === "denied") return { kind: "reply", code: 451, text: `4.7.8 ${why}` };
  return { kind: "none", why };
}

/** Where programs of a user of the ring are written to, unless its record says otherwise. */
export const dataAddressOf = (user: string): string => user.replace("@", "+data@");

const domainOf = (address: string): string =>
  address.slice(address.lastIndexOf("@") + 1).toLowerCase();
