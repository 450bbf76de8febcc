/** The middleware of one node, put together. */
import type { ServerEndpoints } from "../ebm/index.js";
import type { Authenticator } from "../mailbox/authentication.js";
import type { RingReceiver } from "../mailbox/ports.js";
import type { Mailboxes } from "../mailbox/mailboxes.js";
import type { Registry } from "../mailbox/registry.js";
import type { RingKeys } from "../mailbox/ring-keys.js";
import type { Sessions } from "../mailbox/sessions.js";
import { ringLocalPart } from "../mime/new-name.js";
import type { Clock, Files, Randomness } from "../replication/ports.js";
import type { Replication } from "../replication/replication.js";
import type { Log } from "../shared/log.js";
import { RingAnswers } from "./control/answers.js";
import { Control } from "./control/control.js";
import { Directory } from "./control/directory.js";
import { Invitations } from "./control/invitations.js";
import { KeptMail } from "./control/kept-mail.js";
import { elsewhereLimits, registrationLimits, unprovenLimits } from "./control/limits.js";
import { Contacts, ReadMarks } from "./control/lists.js";
import { createOperations } from "./control/operations.js";
import { PacketNumbers } from "./control/packet-numbers.js";
import { Proofs } from "./control/proof.js";
import { type RegistrationPolicy, SignUp } from "./control/sign-up.js";
import { Strangers } from "./control/strangers.js";
import type { Answers, Broker, Outgoing } from "./ports.js";

export interface MiddlewareOptions {
  /** The ring's first domain. */
  readonly domain: string;
  readonly policy: RegistrationPolicy;
  readonly registry: Registry;
  readonly mailboxes: Mailboxes;
  readonly authenticator: Authenticator;
  readonly sessions: Sessions;
  readonly keys: RingKeys;
  readonly replication: Pick<
    Replication,
    "registers" | "announceChanged" | "openMaildrop" | "onRegisterChanged"
  >;
  readonly files: Files;
  /** Where the members are reached, as far as they are known. Never rejects. */
  readonly servers: () => Promise<readonly ServerEndpoints[]>;
  readonly broker: Broker;
  /** Absent: users whose mail account is elsewhere can't be answered, and are refused. */
  readonly outgoing?: Outgoing;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly log: Log;
}

export interface Middleware {
  /** Mail to the ring's own addresses. */
  readonly receiver: RingReceiver;
  readonly invitations: Invitations;
  readonly kept: KeptMail;
  /** For what the broker pushes. */
  readonly answers: Answers;
  readonly directory: Directory;
}

export function createMiddleware(options: MiddlewareOptions): Middleware {
  const { domain, registry, mailboxes, replication, keys, sessions, clock, random } = options;
  const { registers, openMaildrop: open } = replication;
  const openMaildrop: typeof open = (mailbox) => replication.openMaildrop(mailbox);
  const announceChanged = (register: string) => replication.announceChanged(register);
  const { accounts, quotas, domains, senders } = registry;
  const ring = `${ringLocalPart}@${domain}`;
  const answers = new RingAnswers({
    ...{ mailboxes, openMaildrop, quotas, domains, keys, ring, clock, random },
    outgoing: options.outgoing,
  });
  const directory = new Directory({ registers, clock, announceChanged });
  replication.onRegisterChanged((register) => directory.forget(register));
  const numbers = new PacketNumbers({ registers, clock, random });
  const invitations = new Invitations({ registers, clock, random });
  const kept = new KeptMail({ mailboxes, openMaildrop, quotas, domain });
  const { servers } = options;
  const signUp = new SignUp({
    ...{ policy: options.policy, authenticator: options.authenticator },
    ...{ accounts, mailboxes, senders, sessions, keys, directory, numbers, invitations, answers },
    ...{ ring, broker: `${ringLocalPart}+data@${domain}`, servers, clock },
    registrations: new Strangers(registrationLimits, clock),
  });
  const operations = createOperations({
    ...{ signUp, directory, accounts, quotas, servers, domain },
    contacts: new Contacts(registers),
    readMarks: new ReadMarks(registers),
  });
  const receiver = new Control({
    proofs: new Proofs({ sessions, directory, numbers, ring, clock }),
    ...{ signUp, operations, answers, kept, clock },
    broker: options.broker,
    unproven: new Strangers(unprovenLimits, clock),
    elsewhere: new Strangers(elsewhereLimits, clock, (address) => address.toLowerCase()),
    ...{ files: options.files, log: options.log },
  });
  return { receiver, invitations, kept, answers, directory };
}
