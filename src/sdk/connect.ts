import type {
  AccountOptions,
  Body,
  ConnectOptions,
  Exchange,
  Receipt,
  Ringpost,
  SendOptions,
} from "./api.js";
import { checkConnecting } from "./checks.js";
import { Client } from "./client.js";
import { withFoundServers } from "./discovery.js";
import { RingpostError } from "./errors.js";
import type { ExchangeType } from "../ebm/index.js";

/**
 * A client of a ring. With `account` it is logged in when this resolves; else `register` or
 * `login` comes first.
 *
 * ```ts
 * import { connect } from "ringpost/sdk";
 * const ring = await connect({ servers: ["127.0.0.1:5000"], account: { user: "alice", password } });
 * await ring.publish("news", "hello");
 * ```
 * @throws RingpostError `denied`, `unreachable`, `timeout`, `store`, `malformed`
 */
export async function connect(given: ConnectOptions): Promise<Ringpost> {
  checkConnecting(given);
  const options = await withFoundServers(given);
  const client = new Client(options);
  const { account } = options;
  if (account === undefined) return client;
  try {
    await enter(client, account);
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** What is refused as `exists` may be the user's own account, which a login tells. */
async function enter(client: Client, account: AccountOptions): Promise<void> {
  const { user, password, register = false } = account;
  if (register !== false) {
    try {
      return await client.register({ user, password, ...(register === true ? {} : register) });
    } catch (error) {
      if (!(error instanceof RingpostError) || error.code !== "exists") throw error;
    }
  }
  await client.login({ user, password });
}

/** A publisher to one exchange with one routing key. */
export interface ExchangeConnection extends AsyncDisposable {
  readonly exchange: Exchange;
  /**
   * `taken` is told when the message is in every queue that it belongs to, or why it never will be.
   * Without it, the receipt tells the same.
   */
  publish(message: Body, taken?: (error: Error | undefined) => void): Promise<Receipt>;
  /** Waits until all is taken, then closes the client. */
  close(): Promise<void>;
}

/**
 * The shortest way to publish: connect to an exchange of a type, with a routing key; it is declared
 * unless it is there.
 *
 * ```ts
 * const news = await connectExchange("topic", "news", "weather.north", { servers, account });
 * await news.publish("snow", (error) => console.log(error ?? "taken"));
 * await news.close();
 * ```
 * @throws RingpostError as `connect`; `exists` when the exchange is of another type
 */
export async function connectExchange(
  type: ExchangeType,
  name: string,
  key: string,
  options: ConnectOptions & { readonly send?: SendOptions },
): Promise<ExchangeConnection> {
  const client = await connect(options);
  try {
    const exchange = await client.exchange(name, type);
    const close = (): Promise<void> => client.drain();
    return {
      exchange,
      async publish(message, taken) {
        const receipt = await exchange.publish(message, { ...options.send, key });
        receipt.delivered.then(
          () => taken?.(undefined),
          (error: unknown) => taken?.(error instanceof Error ? error : new Error(String(error))),
        );
        return receipt;
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await client.close();
    throw error;
  }
}
