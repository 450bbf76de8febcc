/** Clients of a ring under test, closed at the end of each test. */
import { afterEach } from "vitest";
import {
  connect,
  type ConnectOptions,
  type Consumer,
  type Message,
  type Ringpost,
} from "../../src/sdk/index.js";
import type { Member } from "./member.js";
import { password, type Ring } from "./ring.js";
import { within } from "./wait.js";

export interface Wanted {
  /** Used first; default: the first one that runs. */
  readonly first?: Member;
  readonly store?: string;
  readonly poll?: ConnectOptions["poll"];
}

export interface NamedClient {
  readonly name: string;
  /** `name@ring.test` */
  readonly id: string;
  readonly sdk: Ringpost;
}

export class SdkClients {
  readonly #clients: Ringpost[] = [];
  #names = 0;

  /** Call at the top of a test file. `ring`: once it has started. */
  constructor(private readonly ring: () => Ring) {
    afterEach(async () => {
      await Promise.all(this.#clients.splice(0).map((client) => client.close()));
    });
  }

  /** A name that no other test has. */
  name(prefix: string): string {
    this.#names += 1;
    return `${prefix}${this.#names}`;
  }

  options({ first, store, poll = { maxMs: 1_000 } }: Wanted = {}): ConnectOptions {
    const running = this.ring().running.filter((member) => member !== first);
    const members = first === undefined ? running : [first, ...running];
    return {
      servers: members.map(({ addr }) => `ringpost://${addr}`),
      poll,
      ...(store === undefined ? {} : { store }),
    };
  }

  keep(client: Ringpost): Ringpost {
    this.#clients.push(client);
    return client;
  }

  async client(wanted?: Wanted): Promise<Ringpost> {
    return this.keep(await connect(this.options(wanted)));
  }

  async login(user: string, wanted?: Wanted): Promise<Ringpost> {
    return this.keep(await connect({ ...this.options(wanted), account: { user, password } }));
  }

  /** A new user of the ring, logged in. */
  async user(prefix: string, wanted?: Wanted): Promise<NamedClient> {
    const name = this.name(prefix);
    const sdk = await this.client(wanted);
    await sdk.register({ user: name, password });
    return { name, id: `${name}@ring.test`, sdk };
  }
}

/** So many, acknowledged. */
export async function take(consumer: Consumer, count: number): Promise<Message[]> {
  const taken: Message[] = [];
  const taking = (async () => {
    for await (const delivery of consumer) {
      taken.push(delivery);
      await delivery.ack();
      if (taken.length === count) break;
    }
  })();
  await within(taking, 60_000, `${count} messages, of which ${taken.length} came`);
  return taken;
}

export const texts = (messages: readonly Message[]): string[] =>
  messages.map((message) => message.text());
