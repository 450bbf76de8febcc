import type * as amqp from "amqplib";
import type { RabbitMq } from "../support/rabbitmq.js";
import type { BrokerDriver, ConsumeWish, RunningConsumer } from "./play.js";
import type { Scenario, ScenarioMessage } from "./scenario.js";

const deadOf = (queue: string): string => `${queue}.dead`;

/** RabbitMQ: durable classic queues, persistent messages, publisher confirms. */
export class RabbitDriver implements BrokerDriver {
  private constructor(
    readonly name: string,
    private readonly rabbit: RabbitMq,
    private readonly connection: amqp.ChannelModel,
    private readonly channel: amqp.ConfirmChannel,
  ) {}

  static async connect(rabbit: RabbitMq): Promise<RabbitDriver> {
    const connection = await rabbit.connect();
    return new RabbitDriver(
      rabbit.name,
      rabbit,
      connection,
      await connection.createConfirmChannel(),
    );
  }

  async declare({ exchanges, queues, bindings }: Scenario): Promise<void> {
    const { channel } = this;
    for (const { name, type } of exchanges) await channel.assertExchange(name, type);
    for (const { name } of queues) {
      await channel.assertQueue(deadOf(name));
      const deadLetters = { deadLetterExchange: "", deadLetterRoutingKey: deadOf(name) };
      await channel.assertQueue(name, deadLetters);
    }
    for (const { exchange, queue, key, headers, match } of bindings) {
      const isHeaders = exchanges.some(({ name, type }) => name === exchange && type === "headers");
      await channel.bindQueue(
        queue,
        exchange,
        key,
        isHeaders ? { ...headers, "x-match": match } : {},
      );
    }
  }

  async publish(messages: readonly ScenarioMessage[]): Promise<void> {
    for (const { exchange, key, headers, body } of messages) {
      this.channel.publish(exchange, key, Buffer.from(body), { persistent: true, headers });
    }
    await this.channel.waitForConfirms();
  }

  async consume(queue: string, wish: ConsumeWish): Promise<RunningConsumer> {
    // A connection of its own, so that it can die alone.
    const connection = await this.rabbit.connect();
    const channel = await connection.createChannel();
    await channel.prefetch(wish.prefetch);
    let isDead = false;
    await channel.consume(queue, (message) => {
      if (message === null || isDead) return;
      const redelivered = message.fields.redelivered;
      switch (wish.handle({ body: message.content.toString(), redelivered })) {
        case "ack":
          return channel.ack(message);
        case "requeue":
          return channel.nack(message, false, true);
        case "reject":
          return channel.reject(message, false);
        case "die":
          isDead = true;
          // What it acknowledged before has to be there before the end, else it comes again.
          void channel.checkQueue(queue).finally(() => {
            socketOf(connection).destroy();
            wish.onDead();
          });
      }
    });
    return {
      stop: async () => {
        if (!isDead) await connection.close();
      },
    };
  }

  async left(queue: string): Promise<number> {
    return (await this.channel.checkQueue(queue)).messageCount;
  }

  async takeDead(queue: string, count: number): Promise<readonly string[]> {
    const bodies: string[] = [];
    // Dead letters are routed by the queue's process, behind the reject.
    for (let tries = 0; tries < 500 && bodies.length < count; tries += 1) {
      const got = await this.channel.get(deadOf(queue), { noAck: true });
      if (got) bodies.push(got.content.toString());
    }
    const more = await this.channel.get(deadOf(queue), { noAck: true });
    return more ? [...bodies, more.content.toString()] : bodies;
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}

const socketOf = (connection: amqp.ChannelModel): { destroy(): void } =>
  (connection as unknown as { connection: { stream: { destroy(): void } } }).connection.stream;
