/** The wish to stop: a first signal asks, a second one does not wait any longer. */
const signals = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
type StopSignal = keyof typeof signals;

export interface StopRequests {
  /** Resolves with the reason of the first request. */
  readonly requested: Promise<string>;
  request(reason: string): void;
  release(): void;
}

/** `endNow` gets 128 + the signal's number, as a shell would report it. */
export function stopRequests(endNow: (exitCode: number) => void): StopRequests {
  let resolve: (reason: string) => void = () => undefined;
  let wasRequested = false;
  const requested = new Promise<string>((done) => {
    resolve = done;
  });
  const request = (reason: string): void => {
    wasRequested = true;
    resolve(reason);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (wasRequested) endNow(128 + signals[signal as StopSignal]);
    request(signal);
  };
  const names = Object.keys(signals) as StopSignal[];
  for (const name of names) process.on(name, onSignal);
  return {
    requested,
    request,
    release: () => {
      for (const name of names) process.off(name, onSignal);
    },
  };
}
