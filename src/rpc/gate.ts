/** The gate of a member: who shows no certificate of the ring gets no further than `Enroll`. */
import { performance } from "node:perf_hooks";
import {
  type ServerInterceptingCallInterface,
  ServerInterceptingCall,
  type ServerInterceptor,
  status,
} from "@grpc/grpc-js";
import type { Log } from "../shared/log.js";
import { bounds } from "./bounds.js";
import { enrollService } from "./schema.js";

const openPaths = new Set(Object.values(enrollService).map(({ path }) => path));

const noteIntervalMs = 1_000;

/**
 * Refused before a message is read: what strangers send is not gathered in memory. Those at
 * `Enroll` are few at a time, for the same reason.
 */
export function createGate(log: Log): ServerInterceptor {
  let strangers = 0;
  let unnoted = 0;
  let notedAtMs = Number.NEGATIVE_INFINITY;
  /** Strangers must not fill the log. */
  const note = (from: string): void => {
    const nowMs = performance.now();
    if (nowMs - notedAtMs < noteIntervalMs) {
      unnoted += 1;
      return;
    }
    log.warn({ from, notTold: unnoted }, "refused: no certificate of this ring");
    notedAtMs = nowMs;
    unnoted = 0;
  };
  return ({ path }, call) => {
    if (openPaths.has(path)) {
      if (strangers >= bounds.strangersMax) {
        return refusing(call, status.RESOURCE_EXHAUSTED, "too many want to get in at once");
      }
      strangers += 1;
      return counted(call, () => {
        strangers -= 1;
      });
    }
    if (call.getAuthContext().sslPeerCertificate !== undefined) {
      return new ServerInterceptingCall(call);
    }
    note(call.getPeer());
    return refusing(call, status.UNAUTHENTICATED, "refused: no certificate of this ring");
  };
}

function refusing(
  call: ServerInterceptingCallInterface,
  code: status,
  details: string,
): ServerInterceptingCall {
  return new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata: () => call.sendStatus({ code, details }),
      }),
  });
}

/** `done` is called once, when the call is over in whatever way. */
function counted(call: ServerInterceptingCallInterface, done: () => void): ServerInterceptingCall {
  let isOver = false;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    done();
  };
  const timer = setTimeout(() => {
    call.sendStatus({ code: status.DEADLINE_EXCEEDED, details: "took too long" });
    end();
  }, bounds.enrollDeadlineMs);
  timer.unref();
  return new ServerInterceptingCall(call, {
    start: (next) => next({ onCancel: end }),
    sendStatus: (sent, next) => {
      end();
      next(sent);
    },
  });
}
